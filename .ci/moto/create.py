"""Makes the streams and tables of the contract at an endpoint: one shard each, and waits until they are active."""

import sys

import boto3

endpoint = sys.argv[1]
kinesis = boto3.client("kinesis", endpoint_url=endpoint)
dynamodb = boto3.client("dynamodb", endpoint_url=endpoint)


def stream(name):
    kinesis.create_stream(StreamName=name, ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})


def table(name, attributes=("PK", "SK"), **more):
    dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": each, "AttributeType": "S"} for each in attributes],
        KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}, {"AttributeName": "SK", "KeyType": "RANGE"}],
        **more,
    )
    dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})


for name in ("swipes", "swipe-decisions", "swipe-rejects"):
    stream(name)
table("access", StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"})
table(
    "swipe-decisions",
    attributes=("PK", "SK", "access_point", "Area"),
    GlobalSecondaryIndexes=[
        {
            "IndexName": "ByAccessPoint",
            "KeySchema": [
                {"AttributeName": "access_point", "KeyType": "HASH"},
                {"AttributeName": "SK", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "ALL"},
        },
        {
            "IndexName": "ByArea",
            "KeySchema": [
                {"AttributeName": "Area", "KeyType": "HASH"},
                {"AttributeName": "PK", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "ALL"},
        },
    ],
)
print("streams and tables are there")
