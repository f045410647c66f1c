"""The KCL's application: one process a shard, started by the MultiLangDaemon. Writes the id of every swipe it handles to a
ledger, and checkpoints each page. Two files in the ledger's directory change that:

halt     handle the third user record of the next aggregate, checkpoint there, and handle no more
blind    checkpoint no more
"""
import json
import os
import sys

from amazon_kclpy import kcl
from amazon_kclpy.v3 import processor

HALT_AT = 2


class Swipes(processor.RecordProcessorBase):
    def initialize(self, initialize_input):
        self.shard = initialize_input.shard_id
        self.directory = sys.argv[1]
        self.ledger = open(os.path.join(self.directory, f"{self.shard}.{os.getpid()}.ledger"), "w")
        self.halted = False

    def is_told(self, word):
        return os.path.exists(os.path.join(self.directory, word))

    def process_records(self, process_records_input):
        last = None
        for record in process_records_input.records:
            if self.halted:
                break
            swipe = json.loads(record.binary_data)
            print(f"{swipe['device_id']}#{swipe['device_seq']}", file=self.ledger)
            last = (record.sequence_number, record.sub_sequence_number)
            self.halted = last[1] == HALT_AT and self.is_told("halt")
        self.ledger.flush()
        if last and not self.is_told("blind"):
            process_records_input.checkpointer.checkpoint(*last)
        if last and self.halted:
            open(os.path.join(self.directory, f"{self.shard}.halted"), "w").close()

    def lease_lost(self, lease_lost_input):
        pass

    def shard_ended(self, shard_ended_input):
        # A shard that was not read to its end may not be ended: the KCL sees that it was not, and asks again.
        if not self.halted:
            shard_ended_input.checkpointer.checkpoint()

    def shutdown_requested(self, shutdown_requested_input):
        # Every page is checkpointed, so there is nothing left to do.
        pass


if __name__ == "__main__":
    kcl.KCLProcess(Swipes()).run()
