package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// The client is a process of this program.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "client" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestFewKills(t *testing.T) {
	var out bytes.Buffer
	set := settings{moments: 3, conns: 2, size: 40 << 20, part: 5 << 20, seed: 1}
	if err := run(t.Context(), &out, set); err != nil {
		t.Error(err)
	}
	t.Logf("\n%s", &out)
	if n := strings.Count(out.String(), "right"); n != set.moments {
		t.Errorf("%d objects are right", n)
	}
}

func TestWhatMissesATarget(t *testing.T) {
	set := settings{moments: 1, conns: 2, size: 100, part: 10}
	good := row{holding: holding{bytes: 30}, sent: 90, right: true, clean: true} // two parts again
	for name, spoil := range map[string]func(*row){
		"": func(*row) {},
		"parts sent that were not missing, the most": func(x *row) { x.sent = 91 },
		"objects that are not the input":             func(x *row) { x.right = false },
		"uploads that left something behind":         func(x *row) { x.clean = false },
	} {
		x := good
		spoil(&x)
		missed := ""
		for _, target := range judge([]row{x}, set) {
			if !target.met() {
				missed += target.what
			}
		}
		if missed != name {
			t.Errorf("missed %q, want %q", missed, name)
		}
	}
}
