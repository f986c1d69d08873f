// Package clients holds tests of runpod-sim's proxy with other people's programs,
// unmodified: boto3, the AWS command line, rclone, s3cmd, curl, Runpod's
// JavaScript SDK, and a load test in Python. Each starts runpod-sim as a user
// would. A program that is not installed is skipped by name; .ci/clients installs
// them all.
//
// Where Linux allows it, the tests run in a network namespace that has loopback
// and nothing else, so that no client can go around the proxy.
package clients
