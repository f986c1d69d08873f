package clients

import (
	"os"
	"os/exec"
	"syscall"
	"unsafe"
)

// inNamespace runs this test program in a network namespace of its own and
// returns its exit status; ok is false if there can be none.
func inNamespace() (status int, ok bool) {
	self, err := os.Executable()
	if err != nil {
		return 0, false
	}
	for _, attr := range []*syscall.SysProcAttr{
		{Cloneflags: syscall.CLONE_NEWNET},
		{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}},
	} {
		cmd := exec.Command(self, os.Args[1:]...)
		cmd.Env = append(os.Environ(), namespaceEnv+"=1")
		cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = os.Stdout, os.Stderr, attr
		attr.Pdeathsig = syscall.SIGKILL
		if err := cmd.Start(); err != nil {
			continue
		}
		cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != noLoopback {
			return code, true
		}
	}
	return 0, false
}

// raiseLoopback brings the namespace's one interface up.
func raiseLoopback() error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	req := struct {
		name  [16]byte
		flags uint16
		_     [22]byte
	}{flags: syscall.IFF_UP | syscall.IFF_RUNNING}
	copy(req.name[:], "lo")
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&req))); errno != 0 {
		return errno
	}
	return nil
}
