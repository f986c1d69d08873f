//go:build !unix

package embedded

import "os"

// lock only opens the file: there is no advisory lock to take on this system.
func lock(name string) (*os.File, error) { return os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600) }
