// Package runpod calls Runpod load-balancing endpoints whose GPU workers scale
// from zero, and moves the inputs and results through the endpoint's network
// volume.
package runpod
