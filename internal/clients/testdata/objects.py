# What boto3 does with the volume, as a program for the live service does it.
import filecmp
import os
import sys
import tempfile

import boto3
from boto3.s3.transfer import TransferConfig

bucket = os.environ["RUNPOD_S3_BUCKET_NAME"]
s3 = boto3.client(
    "s3",
    endpoint_url=os.environ["RUNPOD_S3_ENDPOINT_URL"],
    region_name=os.environ["RUNPOD_S3_REGION"],
    aws_access_key_id=os.environ["RUNPOD_S3_ACCESS_KEY_ID"],
    aws_secret_access_key=os.environ["RUNPOD_S3_SECRET_ACCESS_KEY"],
)
folder = tempfile.mkdtemp()
small, large, back = (os.path.join(folder, name) for name in ("small", "large", "back"))
for path, size in ((small, 1000), (large, 20_000_000)):
    with open(path, "wb") as f:
        f.write(os.urandom(size))

s3.upload_file(small, bucket, "boto3/a b+c#d/small")
s3.upload_file(large, bucket, "boto3/large", Config=TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20))
for path, key in ((small, "boto3/a b+c#d/small"), (large, "boto3/large")):
    s3.download_file(bucket, key, back)
    assert filecmp.cmp(path, back, shallow=False), key
    head = s3.head_object(Bucket=bucket, Key=key)
    assert head["ContentLength"] == os.path.getsize(path), head

keys = []
for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="boto3/", PaginationConfig={"PageSize": 1}):
    keys += [o["Key"] for o in page.get("Contents", [])]
assert keys == ["boto3/a b+c#d/small", "boto3/large"], keys
folded = s3.list_objects_v2(Bucket=bucket, Prefix="boto3/", Delimiter="/")
assert [p["Prefix"] for p in folded["CommonPrefixes"]] == ["boto3/a b+c#d/"], folded

s3.copy_object(Bucket=bucket, Key="boto3/copy", CopySource={"Bucket": bucket, "Key": "boto3/large"})
for key in keys + ["boto3/copy"]:
    s3.delete_object(Bucket=bucket, Key=key)
left = s3.list_objects_v2(Bucket=bucket, Prefix="boto3/")
assert [o["Key"] for o in left["Contents"]] == ["boto3/a b+c#d/"], left  # the empty folder
try:
    s3.head_object(Bucket=bucket, Key="boto3/large")
    sys.exit("a deleted object is still there")
except s3.exceptions.ClientError as err:
    assert err.response["Error"]["Code"] == "404", err.response
print("ok", boto3.__version__)
