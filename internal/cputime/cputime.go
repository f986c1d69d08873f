// Package cputime reads how much processor time this process has used, for
// benchmarks that compare costs rather than durations.
package cputime
