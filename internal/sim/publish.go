package sim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

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
