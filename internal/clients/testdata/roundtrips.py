# A load test for the live service: 30 round trips, 15 at once, no retries. It
# knows https://ID.api.runpod.ai and the volume's S3 address.
import asyncio
import json
import os
import sys
import time
import uuid

import boto3
import httpx
from botocore.config import Config

person, garment = sys.argv[1:3]
endpoint = f"https://{os.environ['RUNPOD_ENDPOINT_ID']}.api.runpod.ai"
bucket = os.environ["RUNPOD_S3_BUCKET_NAME"]
s3 = boto3.client(
    "s3",
    endpoint_url=os.environ["RUNPOD_S3_ENDPOINT_URL"],
    region_name=os.environ["RUNPOD_S3_REGION"],
    aws_access_key_id=os.environ["RUNPOD_S3_ACCESS_KEY_ID"],
    aws_secret_access_key=os.environ["RUNPOD_S3_SECRET_ACCESS_KEY"],
    config=Config(max_pool_connections=20),
)
gate = asyncio.Semaphore(15)


async def round_trip(client, n):
    async with gate:
        job = uuid.uuid4().hex
        keys = [f"inputs/{job}/person.jpg", f"inputs/{job}/garment.jpg"]
        for path, key in zip((person, garment), keys):
            await asyncio.to_thread(s3.upload_file, path, bucket, key)
        began = time.monotonic()
        answer = await client.post(
            f"{endpoint}/api/v1/tryon",
            json={"person_image_path": f"/runpod-volume/{keys[0]}", "garment_image_path": f"/runpod-volume/{keys[1]}"},
            headers={"Authorization": f"Bearer {os.environ['RUNPOD_API_KEY']}"},
        )
        result = {"n": n, "status": answer.status_code, "seconds": time.monotonic() - began}
        if answer.status_code == 200:
            key = answer.json()["result_image_path"].removeprefix("/runpod-volume/")
            body = await asyncio.to_thread(lambda: s3.get_object(Bucket=bucket, Key=key)["Body"].read())
            result["picture"] = body[:3] == b"\xff\xd8\xff" and len(body)
        else:
            result["text"] = answer.text
        return result


async def main():
    async with httpx.AsyncClient(timeout=400, limits=httpx.Limits(max_connections=30)) as client:
        for result in await asyncio.gather(*(round_trip(client, n) for n in range(30))):
            print(json.dumps(result))


asyncio.run(main())
