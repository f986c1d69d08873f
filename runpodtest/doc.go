// Package runpodtest is a Runpod load-balancing endpoint and its network volume,
// in process, for tests and for planning.
package runpodtest
