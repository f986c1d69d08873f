package cputime

import "testing"

func TestUsedGrowsWithWork(t *testing.T) {
	before := Used()
	n := uint64(1)
	for i := uint64(0); Used() == before; i++ { // ends when work is counted
		n = n*6364136223846793005 + i
	}
	if after := Used(); after <= before {
		t.Errorf("%v after %v of work (%d)", after, before, n)
	}
}
