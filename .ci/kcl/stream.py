"""The few Kinesis and DynamoDB calls that the scenes need, over plain HTTP: the stand-ins check no signatures, though one
wants to see some."""
import base64
import hashlib
import json
import time
import urllib.error
import urllib.request


def call(endpoint, target, body):
    """One call; the reply as a value. A refusal is an exception with the service's own words."""
    version = "1.1" if target.startswith("Kinesis") else "1.0"
    headers = {
        "Content-Type": f"application/x-amz-json-{version}",
        "X-Amz-Target": target,
        "X-Amz-Date": "20260101T000000Z",
        "Authorization": "AWS4-HMAC-SHA256 Credential=local/20260101/eu-west-1/dynamodb/aws4_request, "
        "SignedHeaders=host, Signature=0",
    }
    request = urllib.request.Request(endpoint, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return json.loads(reply.read() or b"{}")
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{target}: {error.read().decode()}") from error


def aggregate(key, payloads):
    """A KPL aggregate of payloads that all hash to `key`: without it the KCL takes them for another shard's."""

    def field(number, data):
        return bytes([number << 3 | 2]) + varint(len(data)) + data

    def varint(value):
        out = b""
        while value > 127:
            out, value = out + bytes([value & 127 | 128]), value >> 7
        return out + bytes([value])

    message = field(1, b"k") + field(2, str(key).encode())
    for payload in payloads:
        message += field(3, b"\x08\x00\x10\x00" + field(3, payload))
    return b"\xf3\x89\x9a\xc2" + message + hashlib.md5(message).digest()


class Stream:
    """One Kinesis stream."""

    def __init__(self, endpoint, name):
        self.endpoint, self.name = endpoint, name

    def call(self, operation, **body):
        return call(self.endpoint, f"Kinesis_20131202.{operation}", body)

    def create(self, shards):
        self.call("CreateStream", StreamName=self.name, ShardCount=shards)

    def shards(self, filter_type="FROM_TRIM_HORIZON"):
        reply = self.call("ListShards", StreamName=self.name, ShardFilter={"Type": filter_type})
        return reply["Shards"]

    def open_shards(self):
        """Open shards by their first hash key."""
        return sorted(self.shards("AT_LATEST"), key=first_hash)

    def split(self, shard):
        low, high = first_hash(shard), int(shard["HashKeyRange"]["EndingHashKey"])
        middle = str((low + high) // 2)
        self.call("SplitShard", StreamName=self.name, ShardToSplit=shard["ShardId"], NewStartingHashKey=middle)

    def merge(self, one, other):
        self.call(
            "MergeShards",
            StreamName=self.name,
            ShardToMerge=one["ShardId"],
            AdjacentShardToMerge=other["ShardId"],
        )

    def put(self, entries):
        """Puts (hash key, bytes) in order; each is put until it is stored."""
        for start in range(0, len(entries), 400):
            left = entries[start : start + 400]
            for _ in range(50):
                records = [
                    {"PartitionKey": "k", "ExplicitHashKey": str(key), "Data": base64.b64encode(data).decode()}
                    for key, data in left
                ]
                reply = self.call("PutRecords", StreamName=self.name, Records=records)
                left = [entry for entry, result in zip(left, reply["Records"]) if "ErrorCode" in result]
                if not left:
                    break
                time.sleep(0.1)
            assert not left, f"{self.name} keeps refusing records"

    def read(self):
        """Every record that is in the stream now, as bytes."""
        for shard in self.shards():
            iterator = self.call(
                "GetShardIterator",
                StreamName=self.name,
                ShardId=shard["ShardId"],
                ShardIteratorType="TRIM_HORIZON",
            )["ShardIterator"]
            while iterator:
                page = self.call("GetRecords", ShardIterator=iterator, Limit=10000)
                yield from (base64.b64decode(record["Data"]) for record in page["Records"])
                iterator = page.get("NextShardIterator") if page["MillisBehindLatest"] else None


def first_hash(shard):
    return int(shard["HashKeyRange"]["StartingHashKey"])


def rows(endpoint, table):
    """The rows of a table by key, as the service spells them; none while there is no table."""
    try:
        reply = call(endpoint, "DynamoDB_20120810.Scan", {"TableName": table, "ConsistentRead": True})
    except RuntimeError as error:
        if "ResourceNotFoundException" in str(error):
            return {}
        raise
    return {row["leaseKey"]["S"]: row for row in reply["Items"]}
