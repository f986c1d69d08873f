package sim

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// environment is what a client needs in its environment, and what must not be
// there because it would lead elsewhere.
type environment struct {
	set   [][2]string
	unset []string
}

// direct is the environment of clients that take addresses. The keys are good for
// this server only.
func direct(srv *runpodtest.Server) environment {
	return environment{
		unset: []string{"RUNPOD_ENDPOINT_ID"}, // a real endpoint's would compete with the address
		set: [][2]string{
			{"RUNPOD_API_KEY", srv.APIKey},
			{"RUNPOD_ENDPOINT_URL", srv.EndpointURL},
			{"RUNPOD_JOBS_URL", srv.JobsURL},
			{"RUNPOD_CONTROL_URL", srv.ControlURL},
			{"RUNPOD_S3_ENDPOINT_URL", srv.S3URL},
			{"RUNPOD_S3_REGION", srv.Region},
			{"RUNPOD_S3_BUCKET_NAME", srv.Bucket},
			{"RUNPOD_S3_ACCESS_KEY_ID", srv.AccessKeyID},
			{"RUNPOD_S3_SECRET_ACCESS_KEY", srv.SecretAccessKey},
		},
	}
}

// inWorkers is the environment of the workers' processes: they know their endpoint
// by its id.
func inWorkers(srv *runpodtest.Server) environment {
	e := direct(srv)
	e.unset = []string{"RUNPOD_ENDPOINT_URL"}
	e.set = slices.DeleteFunc(e.set, func(v [2]string) bool { return v[0] == "RUNPOD_ENDPOINT_URL" })
	e.set = append(e.set, [2]string{"RUNPOD_ENDPOINT_ID", srv.EndpointID})
	return e
}

// assignments are the variables as a process takes them; those that must not be
// there are empty.
func assignments(e environment) (env []string) {
	for _, name := range e.unset {
		env = append(env, name+"=")
	}
	for _, v := range e.set {
		env = append(env, v[0]+"="+v[1])
	}
	return env
}

// String is the environment as a shell reads it.
func (e environment) String() string {
	var b strings.Builder
	if len(e.unset) > 0 {
		fmt.Fprintf(&b, "unset %s\n", strings.Join(e.unset, " "))
	}
	for _, v := range e.set {
		fmt.Fprintf(&b, "export %s=%s\n", v[0], shellQuote(v[1]))
	}
	return b.String()
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_/.:=@%+,*-]+$`)

// shellQuote returns a word as a shell reads it back.
func shellQuote(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
