//go:build unix

package embedded

import (
	"errors"
	"os"
	"syscall"
)

// lock takes the folder for this process. The lock ends with the process.
func lock(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, errors.New("another server runs there")
	}
	return f, nil
}
