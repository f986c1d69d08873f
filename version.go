package runpod

import (
	"runtime/debug"
	"strings"
	"sync"
)

const modulePath = "github.com/gpuburst/runpod-go"

// Version returns the version of this module that the program was built with,
// such as "v1.2.3", from its build information; "devel" if that does not say. It
// is part of the User-Agent of calls; see [WithUserAgent].
func Version() string { return version() }

var version = sync.OnceValue(func() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	return versionIn(info)
})

// versionIn looks for the module among those that a program was built of.
func versionIn(info *debug.BuildInfo) string {
	for _, m := range append([]*debug.Module{&info.Main}, info.Deps...) {
		if m.Path != modulePath {
			continue
		}
		if m.Replace != nil {
			m = m.Replace
		}
		if v := m.Version; v != "" && !strings.HasPrefix(v, "(") { // "(devel)" is no token
			return v
		}
	}
	return "devel"
}

// userAgent names the caller's product, if it has one, and the library.
func userAgent(product string) string {
	return strings.TrimSpace(product + " runpod-go/" + Version())
}
