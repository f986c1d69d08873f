package sim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
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

// publish says how to reach the server.
func (s *simulator) publish() error {
	env := direct(s.srv)
	if s.proxy != nil {
		env = s.proxy.environment(s.srv)
	}
	if s.opts.env != "" {
		if err := writeWhole(s.opts.env, env.String()); err != nil {
			return fmt.Errorf("-env: %w", err)
		}
	}
	if s.opts.json {
		return json.NewEncoder(s.stdout).Encode(s.start(env))
	}
	s.print(env)
	return nil
}

// print is publish for people.
func (s *simulator) print(env environment) {
	w := s.stdout
	fmt.Fprintf(w, "# A simulated endpoint (speed %gx) and its volume, in %s\n", s.opts.speed(), s.srv.VolumeDir)
	fmt.Fprintf(w, "# Its workers run %s.\n%s", cmp.Or(s.opts.exec, s.opts.worker), env)
	if s.opts.env != "" {
		fmt.Fprintf(w, "# The same is in %[1]s: . %[2]s\n", s.opts.env, shellQuote(s.opts.env))
	}
	if s.proxy != nil {
		s.proxy.printHints(w)
	} else {
		fmt.Fprintf(w, "# To the control plane it is endpoint %s: runpod-workers list -endpoint %[1]s\n", s.srv.EndpointID)
	}
	fmt.Fprintln(w, "# Ctrl-C ends it and prints the account.")
}

// started is the object that -json prints.
type started struct {
	Kind        string            `json:"kind"` // "started"
	PID         int               `json:"pid"`
	EndpointID  string            `json:"endpoint_id"`
	EndpointURL string            `json:"endpoint_url"`
	JobsURL     string            `json:"jobs_url"`
	ControlURL  string            `json:"control_url"`
	S3URL       string            `json:"s3_url"`
	ProxyURL    string            `json:"proxy_url,omitempty"`
	VolumeDir   string            `json:"volume_dir"`
	Speed       float64           `json:"speed"`
	Worker      string            `json:"worker"`
	Env         map[string]string `json:"env"`
	Unset       []string          `json:"unset"`
	Files       *files            `json:"files,omitempty"`
}

func (s *simulator) start(env environment) started {
	out := started{
		Kind: "started", PID: os.Getpid(), EndpointID: s.srv.EndpointID, EndpointURL: s.srv.EndpointURL, JobsURL: s.srv.JobsURL,
		ControlURL: s.srv.ControlURL, S3URL: s.srv.S3URL, VolumeDir: s.srv.VolumeDir, Speed: s.opts.speed(),
		Worker: cmp.Or(s.opts.exec, s.opts.worker), Env: map[string]string{}, Unset: env.unset,
	}
	for _, v := range env.set {
		out.Env[v[0]] = v[1]
	}
	if s.proxy != nil {
		out.ProxyURL, out.Files = s.proxy.URL, &s.proxy.files
	}
	return out
}

// writeWhole makes the file appear whole or not at all, for its owner alone.
func writeWhole(name, text string) error {
	tmp, err := os.CreateTemp(filepath.Dir(name), ".runpod-sim-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = tmp.WriteString(text)
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), name)
	}
	if err != nil {
		os.Remove(tmp.Name())
	}
	return err
}
