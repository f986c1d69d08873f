package worker

import "syscall"

// dieWithParent has the kernel kill the process when the simulator is killed.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
