//go:build unix && !linux

package worker

import "syscall"

// dieWithParent has nothing to set here: the minder ends the process.
func dieWithParent(*syscall.SysProcAttr) {}
