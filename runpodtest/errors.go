package runpodtest

import "fmt"

// fieldError is the error about a field of Config.
func fieldError(field, format string, args ...any) error {
	return fmt.Errorf("runpodtest: Config."+field+": "+format, args...)
}
