// Runpod-sim is an imitation of a Runpod load-balancing endpoint, its job API, its
// network volume and its control plane on loopback ports, for clients in any
// language. It prints the environment that leads to it, serves until it is
// interrupted, then prints what happened.
//
// Its workers run the picture service of the README, a server of your own
// (-worker http://127.0.0.1:8000) or a process for each (-exec 'uvicorn app:app
// --port {port}'). With -proxy, programs written for the live service reach it
// without a changed line. Run it with -h for its flags; docs/simulator.md shows
// each way.
//
// It exits with status 2 if it cannot serve.
package main

import (
	"os"

	"github.com/gpuburst/runpod-go/internal/sim"
)

func main() { os.Exit(sim.Main(os.Args[1:], os.Stdout, os.Stderr)) }
