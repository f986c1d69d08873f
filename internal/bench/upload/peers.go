package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// boto3Program uploads what it is told on its standard input: through one
// TransferManager for all callers, or each call with its defaults.
const boto3Program = `
import json, sys, time, threading, resource, boto3
from botocore.config import Config
from boto3.s3.transfer import TransferConfig, create_transfer_manager
job = json.load(sys.stdin)
one = job["mode"] == "one"
client = boto3.client("s3", endpoint_url=job["url"], region_name=job["region"], aws_access_key_id=job["access"],
    aws_secret_access_key=job["secret"], config=Config(max_pool_connections=job["conns"] if one else 10, s3={"addressing_style": "path"}))
manager = create_transfer_manager(client, TransferConfig(max_concurrency=job["conns"])) if one else None
def caller(tasks):
    if one:
        for f in [manager.upload(t["Path"], job["bucket"], t["Key"]) for t in tasks]: f.result()
    else:
        for t in tasks: client.upload_file(t["Path"], job["bucket"], t["Key"])
def used():
    u = resource.getrusage(resource.RUSAGE_SELF)
    return u.ru_utime + u.ru_stime
cpu, start = used(), time.monotonic()
threads = [threading.Thread(target=caller, args=(c,)) for c in job["callers"]]
for t in threads: t.start()
for t in threads: t.join()
wall = time.monotonic() - start
print(json.dumps({"Seconds": wall, "CPU": used() - cpu, "RSS": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "Opened": -1}))
`

// python is Debian's, which has Debian's boto3.
const python = "/usr/bin/python3"

func haveBoto3() bool { return exec.Command(python, "-c", "import boto3").Run() == nil }

func haveRclone() bool { _, err := exec.LookPath("rclone"); return err == nil }

// runBoto3 gives the figures of the Python program.
func runBoto3(ctx context.Context, w workload, url, dir, mode string) (figures, error) {
	cmd := exec.CommandContext(ctx, python, "-c", boto3Program)
	job, err := json.Marshal(map[string]any{"url": url, "region": region, "access": accessKey, "secret": secretKey, "bucket": bucket,
		"conns": w.conns, "mode": mode, "callers": w.callers(dir)})
	if err != nil {
		return figures{}, err
	}
	cmd.Stdin, cmd.Stderr = strings.NewReader(string(job)), os.Stderr
	out, err := cmd.Output()
	var f figures
	if err == nil {
		err = json.Unmarshal(out, &f)
	}
	return f, err
}

// runRclone copies a folder of links to the workload's files. Its time has its
// start in it, about 50 ms.
func runRclone(ctx context.Context, w workload, url, dir string) (figures, error) {
	links, err := os.MkdirTemp(dir, "links")
	if err != nil {
		return figures{}, err
	}
	defer os.RemoveAll(links)
	for _, tasks := range w.callers(dir) {
		for _, t := range tasks {
			at := filepath.Join(links, t.Key)
			if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
				return figures{}, err
			}
			if err := os.Link(t.Path, at); err != nil {
				return figures{}, err
			}
		}
	}
	conns := fmt.Sprint(w.conns)
	cmd := exec.CommandContext(ctx, "rclone", "copy", links, ":s3:"+bucket, "--transfers", conns, "--checkers", conns,
		"--s3-upload-concurrency", conns, "--s3-chunk-size", "16M", "--s3-provider", "Other", "--s3-endpoint", url, "--s3-region", region,
		"--s3-access-key-id", accessKey, "--s3-secret-access-key", secretKey, "--s3-force-path-style", "--s3-no-check-bucket", "--no-traverse",
		"--s3-no-head", "--ignore-times", "--ignore-checksum", "--config", "/dev/null", "-q")
	cmd.Stderr = os.Stderr
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return figures{}, err
	}
	return figuresOf(cmd.ProcessState, time.Since(start)), nil
}
