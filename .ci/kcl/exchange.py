"""The KCL and swiped read one stream from one lease table, one after the other; every swipe is counted.

    exchange.py SCENE BINARIES SCRATCH KINESIS DYNAMODB JAVA

SCENE is kcl-first or swiped-first. Exit code 1 when a swipe is lost, or read twice though its reader had checkpointed it.
"""
import collections
import glob
import json
import math
import os
import random
import signal
import socket
import subprocess
import sys
import time

from stream import Stream, aggregate, call, first_hash, rows

HERE = os.path.dirname(os.path.abspath(__file__))
AGGREGATED = 7
# An instant before any swipe of a scene, for the scene that does not start with TRIM_HORIZON.
INSTANT = ("2026-01-01T00:00:00Z", 1767225600)
# First leases come 30 to 45 s after the start of a KCL worker; a busy machine takes its time.
KCL_SECONDS = 90
SWIPED_SECONDS = 60
# Set here and not only by the caller: without credentials an SDK goes out and asks the machine's metadata service.
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SWIPED_"))},
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_REGION": "eu-west-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}


class Scene:
    def __init__(self, name, binaries, scratch, kinesis, dynamodb, java):
        self.name, self.binaries, self.java = name, binaries, java
        self.kinesis, self.dynamodb = kinesis, dynamodb
        self.directory = os.path.join(scratch, name)
        os.makedirs(self.directory)
        self.table = f"app-{name}"
        self.stream = Stream(kinesis, f"swipes-{name}")
        self.decisions = Stream(kinesis, "swipe-decisions")
        self.random = random.Random(name)
        self.sent = 0
        self.starts_at_instant = False
        self.idle = None
        self.running = []
        self.began = time.monotonic()

    # What happens to the stream.

    def note(self, what):
        now = time.monotonic() - self.began
        print(f"{self.name:13} {now:6.1f} s  {what}", flush=True)

    def swipe(self):
        self.sent += 1
        swipe = {
            "v": 1,
            "device_id": self.name,
            "device_seq": self.sent,
            "access_point": "hq-door-0-in",
            "card_id": f"card-{self.random.randrange(500)}",
            "swiped_at_ms": int(time.time() * 1000),
        }
        return json.dumps(swipe).encode()

    def put(self, rounds):
        """In each round, every open shard but the idle one gets three plain swipes and an aggregate of seven."""
        entries = []
        keys = [first_hash(shard) for shard in self.stream.open_shards() if shard["ShardId"] != self.idle]
        for _ in range(rounds):
            for key in keys:
                entries += [(key, self.swipe()) for _ in range(3)]
                entries.append((key, aggregate(key, [self.swipe() for _ in range(AGGREGATED)])))
        self.stream.put(entries)

    def reshard(self):
        """Splits the first open shard and merges the last two."""
        shards = self.stream.open_shards()
        self.stream.split(shards[0])
        self.stream.merge(shards[-2], shards[-1])

    # Who read it.

    def by_kcl(self):
        """Swipes in the ledger of the KCL's processors, and how often."""
        seen = collections.Counter()
        for path in glob.glob(os.path.join(self.directory, "*.ledger")):
            with open(path) as ledger:
                seen.update(int(line.split("#")[1]) for line in ledger if line.endswith("\n"))
        return seen

    def by_swiped(self):
        """Swipes that were decided, and how often."""
        seen = collections.Counter()
        for decision in map(json.loads, self.decisions.read()):
            if decision["device_id"] == self.name:
                seen[decision["device_seq"]] += 1
        return seen

    def until(self, what, seconds, is_so):
        deadline = time.monotonic() + seconds
        while not is_so():
            for process in self.running:
                if process.poll() is not None:
                    sys.exit(f"{self.name}: {process.args[0]} ended with {process.returncode}")
            if time.monotonic() > deadline:
                sys.exit(f"{self.name}: not within {seconds} s: {what}")
            time.sleep(0.2)
        self.note(what)

    def until_read(self, who, seconds):
        """Waits until every swipe that was sent is read by somebody."""
        self.until(
            f"{who} has read what there is: {self.sent} swipes",
            seconds,
            lambda: len(self.by_kcl() | self.by_swiped()) == self.sent,
        )

    # The two readers.

    def start(self, log, command):
        with open(os.path.join(self.directory, log), "a") as out:
            process = subprocess.Popen(
                command, stdout=out, stderr=out, cwd=self.directory, env=ENVIRONMENT, start_new_session=True
            )
        self.running.append(process)
        return process

    def tell(self, word):
        """Tells the KCL's processors to `halt`, or to go on `blind`."""
        open(os.path.join(self.directory, word), "w").close()

    def untell(self, word):
        os.remove(os.path.join(self.directory, word))

    def start_kcl(self, worker):
        # The KCL's rows do not say which instant, so its configuration must; with another start it fails on such a row.
        start = f"Extended = {INSTANT[1]}" if self.starts_at_instant else " = TRIM_HORIZON"
        properties = os.path.join(self.directory, f"{worker}.properties")
        with open(properties, "w") as out:
            out.write(
                f"""executableName = {sys.executable} {HERE}/processor.py {self.directory}
streamName = {self.stream.name}
applicationName = {self.table}
workerId = {worker}
regionName = eu-west-1
AwsCredentialsProvider = DefaultCredentialsProvider
processingLanguage = python
initialPositionInStream{start}
kinesisEndpoint = {self.kinesis}
dynamoDBEndpoint = {self.dynamodb}
metricsLevel = NONE
disableWorkerMetrics = true
retrievalMode = POLLING
idleTimeBetweenReadsInMillis = 1000
parentShardPollIntervalMillis = 1000
shardSyncIntervalMillis = 2000
leaseAssignmentIntervalMillis = 3000
workerMetricsReporterFreqInMillis = 1000
shutdownGraceMillis = 20000
"""
            )
        import amazon_kclpy

        jars = os.path.join(os.path.dirname(amazon_kclpy.__file__), "jars", "*")
        self.note("a KCL worker starts")
        return self.start(
            f"{worker}.log",
            [self.java, "-Xmx256m", "-XX:TieredStopAtLevel=1", "-Daws.cborEnabled=false", "-cp", jars,
             "software.amazon.kinesis.multilang.MultiLangDaemon", "--properties-file", properties,
             "--log-configuration", os.path.join(HERE, "logback.xml")],
        )

    def start_swiped(self, worker):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        config = os.path.join(self.directory, f"{worker}.toml")
        with open(config, "w") as out:
            out.write(
                f"""[aws]
region = "eu-west-1"
[aws.endpoints]
kinesis = "{self.kinesis}"
dynamodb = "{self.dynamodb}"
dynamodbstreams = "{self.dynamodb}"
[swipes]
stream = "{self.stream.name}"
start = "{INSTANT[0] if self.starts_at_instant else "trim_horizon"}"
[leases]
table = "{self.table}"
worker_id = "{worker}"
[access]
table = "access"
[decisions]
stream = "{self.decisions.name}"
[rejects]
stream = "swipe-rejects"
[admin]
listen = "127.0.0.1:{port}"
"""
            )
        self.note("swiped starts")
        return self.start(f"{worker}.log", [os.path.join(self.binaries, "swiped"), "run", "--config", config])

    def forget_leader(self):
        """What the README tells those to do whose KCL was killed."""
        table, key = f"{self.table}-CoordinatorState", {"key": {"S": "Leader"}}
        call(self.dynamodb, "DynamoDB_20120810.DeleteItem", {"TableName": table, "Key": key})

    def stop(self, process, seconds=60):
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            sys.exit(f"{self.name}: {process.args[0]} has not stopped {seconds} s after SIGTERM")
        self.running.remove(process)
        self.note(f"it stopped, {time.monotonic() - began:.1f} s after SIGTERM, with {code}")

    def kill(self, process):
        """The whole session: the KCL's processors are its children."""
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self.running.remove(process)
        self.note("it is killed")

    def shows(self, what):
        """The open rows of the lease table, one a line."""
        self.note(f"the lease table, {what}:")
        for key, row in sorted(rows(self.dynamodb, self.table).items()):
            if "checkpoint" in row:
                owner = row.get("leaseOwner", {"S": "-"})["S"]
                sub = row["checkpointSubSequenceNumber"]["N"]
                print(f"    {key} owner {owner} counter {row['leaseCounter']['N']} at {row['checkpoint']['S']} {sub}")

    def count(self, what, allowed=frozenset()):
        """Counts who has read what so far. Nothing may be lost, and only `allowed` may be read twice."""
        kcl, swiped = self.by_kcl(), self.by_swiped()
        both = kcl + swiped
        lost = self.sent - len(both)
        twice = {number for number, times in both.items() if times > 1}
        counts = (self.sent, len(kcl), len(swiped), lost, len(twice), len(twice - allowed))
        self.note("sent %d, by the KCL %d, by swiped %d, lost %d, twice %d, needlessly %d" % counts)
        with open(os.path.join(self.directory, "counts"), "a") as table:
            print(f"{what:46}" + "".join(f"{count:12}" for count in counts), file=table)
        if lost or twice - allowed:
            sys.exit(f"{self.name}: {lost} swipes are lost; read twice without need: {sorted(twice - allowed)[:20]}")

    def unsaved(self):
        """Swipes that swiped decided after the checkpoints that the lease table shows."""
        table = rows(self.dynamodb, self.table)
        unsaved = set()
        for decision in map(json.loads, self.decisions.read()):
            source = decision["source"]
            if decision["device_id"] == self.name and place(table[source["shard"]]) < (int(source["sequence"]), source["sub"]):
                unsaved.add(decision["device_seq"])
        return unsaved

    def close(self):
        for process in self.running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def place(row):
    """The checkpoint of a row, so that checkpoints of one shard compare."""
    checkpoint = row["checkpoint"]["S"]
    if checkpoint.isdigit():
        return int(checkpoint), int(row["checkpointSubSequenceNumber"]["N"])
    return (math.inf if checkpoint == "SHARD_END" else -1), 0


def kcl_first(scene):
    """The KCL reads, through a reshard, and stops inside an aggregate of every shard; swiped goes on there, through another.
    Then swiped is killed with work that it did not checkpoint, and the KCL goes on."""
    scene.put(20)
    kcl = scene.start_kcl("kcl-1")
    scene.until_read("the KCL", KCL_SECONDS)
    scene.reshard()
    scene.put(20)
    scene.until_read("the KCL", KCL_SECONDS)
    scene.tell("halt")
    scene.put(20)
    count = len(scene.stream.open_shards())
    halted = os.path.join(scene.directory, "*.halted")
    scene.until("every shard stands inside an aggregate", KCL_SECONDS, lambda: len(glob.glob(halted)) == count)
    scene.stop(kcl)
    scene.shows("left by the KCL")
    # The KCL knows nothing of these children.
    scene.reshard()
    scene.put(10)
    swiped = scene.start_swiped("swiped-1")
    scene.until_read("swiped", SWIPED_SECONDS)
    scene.count("KCL stops inside aggregates, swiped goes on")
    scene.until("swiped has checkpointed all of it", SWIPED_SECONDS, lambda: not scene.unsaved())
    scene.put(10)
    scene.until_read("swiped", SWIPED_SECONDS)
    scene.kill(swiped)
    scene.shows("left by swiped")
    unsaved = scene.unsaved()
    scene.untell("halt")
    scene.put(10)
    # Where the KCL did not end its shutdown in time it has not given up its leadership, and nobody leads for two minutes.
    scene.forget_leader()
    kcl = scene.start_kcl("kcl-2")
    scene.until_read("the KCL", KCL_SECONDS)
    scene.stop(kcl)
    scene.count("swiped is killed, KCL goes on", unsaved)


def swiped_first(scene):
    """swiped reads from an instant on, through a reshard, and stops; the KCL goes on, through another, and reads a shard where
    nothing was so far. Then the KCL is killed with work that it did not checkpoint, and swiped goes on."""
    scene.starts_at_instant, scene.idle = True, scene.stream.open_shards()[1]["ShardId"]
    scene.put(20)
    swiped = scene.start_swiped("swiped-1")
    scene.until_read("swiped", SWIPED_SECONDS)
    scene.reshard()
    scene.put(20)
    scene.until_read("swiped", SWIPED_SECONDS)
    # It is told to stop with pages on their way.
    for _ in range(5):
        scene.put(4)
        time.sleep(0.1)
    scene.stop(swiped)
    scene.shows("left by swiped")
    scene.idle = None
    scene.put(5)
    scene.reshard()
    scene.put(20)
    kcl = scene.start_kcl("kcl-1")
    scene.until_read("the KCL", KCL_SECONDS)
    scene.count("swiped stops, KCL goes on")
    before = set(scene.by_kcl())
    scene.tell("blind")
    scene.put(10)
    scene.until_read("the KCL", KCL_SECONDS)
    scene.kill(kcl)
    scene.shows("left by the KCL")
    scene.put(10)
    swiped = scene.start_swiped("swiped-2")
    scene.until_read("swiped", SWIPED_SECONDS)
    scene.stop(swiped)
    scene.count("KCL is killed, swiped goes on", set(scene.by_kcl()) - before)


def main():
    # So that nothing is left running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to stop"))
    scene = Scene(*sys.argv[1:])
    scene.stream.create(4)
    try:
        {"kcl-first": kcl_first, "swiped-first": swiped_first}[scene.name](scene)
    finally:
        scene.close()


if __name__ == "__main__":
    main()
