// Command upload compares how fast clients upload: package runpod and its
// rivals, on the same servers, in alternating runs, each in a process of its
// own.
//
//	go -C internal/bench run ./upload
//
// prints a table for every workload (wall time, processor time, resident
// memory, connections; medians over the rounds) and every target as met or
// missed. Servers: versitygw over a folder in memory where it is installed,
// otherwise and for the fourth workload one that keeps nothing. Clients that
// are not installed (rclone, python3-boto3) are left out by name.
//
// The parts: what is uploaded (workloads.go), by whom (clients.go, peers.go),
// to what (servers.go); run.go runs one in a process of its own, report.go
// prints.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
)

func main() {
	if len(os.Args) > 2 && os.Args[1] == "client" {
		exitOn(beClient(os.Args[2]))
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "server" {
		exitOn(beNullServer())
		return
	}
	rounds := flag.Int("rounds", 5, "alternating rounds of every workload")
	only := flag.String("workloads", "", "comma-separated names; all of them by default")
	clients := flag.String("clients", "", "comma-separated names; all of them by default")
	flag.Parse()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt)
	exitOn(compare(*rounds, split(*only), split(*clients), stop))
}

func split(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "upload:", err)
		os.Exit(1)
	}
}
