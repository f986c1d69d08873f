// Package bench holds the comparison of package runpod with what other clients
// do on the same simulated endpoint, in virtual time:
//
//	go -C internal/bench test -run Compare -v .
//
// prints a table for every scenario and every target as met or missed. With
// -short it runs few seeds and leaves the largest scenario out. It is a module
// of its own, so that the rival clients stay out of the library's.
//
// The parts, in the order of the data: a scenario (scenarios.go) and a seed give
// a plan (plan.go): the cold starts, the work of every job, which jobs are
// malformed, which answers go wrong. A client (clients.go, peers.go) meets that
// plan in a run (run.go) in a time bubble of its own. What the endpoint's
// account and the callers saw becomes figures (measure.go), held against a lower
// bound (bound.go), put together over the seeds (table.go) and held against the
// targets (targets.go). csv.go and plot.go write what docs/ keeps.
package bench
