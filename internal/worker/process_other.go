//go:build !unix

package worker

import (
	"errors"
	"io"
	"sync/atomic"
	"time"
)

type process struct {
	ready       atomic.Bool
	dead, ended chan struct{}
}

type minder struct{}

func startProcess(string, []string, io.Writer, string, *minder) (*process, error) {
	return nil, errors.New("processes as workers need Linux, macOS or another Unix; start your server by hand and use -worker http://...")
}

func (p *process) stop(time.Duration) {}
func (p *process) how() string        { return "" }
func (p *process) lastWords() string  { return "" }
func (m *minder) close()              {}

// Mind reports whether this process was started to end others.
func Mind() bool { return false }
