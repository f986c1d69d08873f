package cputime

import (
	"syscall"
	"time"
)

// Used returns the processor time that this process has used so far, its own
// and the kernel's on its behalf.
func Used() time.Duration {
	var created, exited, kernel, user syscall.Filetime
	process, err := syscall.GetCurrentProcess()
	if err != nil || syscall.GetProcessTimes(process, &created, &exited, &kernel, &user) != nil {
		return 0
	}
	return inTicks(kernel) + inTicks(user)
}

// inTicks is a duration that Windows counts in units of 100 ns.
func inTicks(t syscall.Filetime) time.Duration {
	return time.Duration(int64(t.HighDateTime)<<32|int64(t.LowDateTime)) * 100
}
