package fleet

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	runpod "github.com/gpuburst/runpod-go"
)

func TestShare(t *testing.T) {
	for _, tt := range []struct {
		limit       int
		slots, want map[string]int
	}{
		{16, map[string]int{"a": 8, "b": 8, "c": 8}, map[string]int{"a": 6, "b": 5, "c": 5}},
		{16, map[string]int{"a": 2, "b": 20, "c": 20}, map[string]int{"a": 2, "b": 7, "c": 7}},
		{16, map[string]int{"a": 8}, map[string]int{"a": 8}},
		{2, map[string]int{"a": 8, "b": 8, "c": 8}, map[string]int{"a": 1, "b": 1, "c": 0}},
		{16, map[string]int{"a": 0, "b": 20}, map[string]int{"a": 0, "b": 16}},
		{0, map[string]int{"a": 8, "b": 8}, map[string]int{"a": 0, "b": 0}},
		{5, map[string]int{}, map[string]int{}},
	} {
		if got := share(tt.limit, tt.slots); !maps.Equal(got, tt.want) {
			t.Errorf("%d over %v: %v, want %v", tt.limit, tt.slots, got, tt.want)
		}
	}
}

func TestJudge(t *testing.T) {
	never := sight{Limit: 16, Full: 16, Answered: -1, GaveUp: -1}
	with := func(edit func(*sight)) sight { s := never; edit(&s); return s }
	asking := with(func(s *sight) { s.InFlight = 4 })
	good := with(func(s *sight) { s.InFlight, s.Answered = 4, 100 })
	narrow := with(func(s *sight) { s.InFlight, s.Limit = 2, 2 })
	gaveUp := with(func(s *sight) { s.GaveUp = 500 })
	for name, tt := range map[string]struct {
		sights []sight
		look   Outlook
		room   int
	}{
		"nobody":                     {nil, Quiet, 12},
		"nobody has asked":           {[]sight{never, never}, Quiet, 12},
		"asked":                      {[]sight{never, asking}, Cold, 12},
		"answered":                   {[]sight{asking, good}, Answering, 12},
		"one is refused":             {[]sight{asking, narrow, asking}, Refusing, 6},
		"two are refused":            {[]sight{narrow, with(func(s *sight) { s.Limit = 3 }), asking}, Refusing, 8},
		"all are, at once":           {[]sight{with(func(s *sight) { s.Limit = 0 })}, Refusing, 1},
		"a wide client is narrowed":  {[]sight{with(func(s *sight) { s.Limit, s.Full = 50, 64 })}, Refusing, 12},
		"given up":                   {[]sight{asking, gaveUp}, NoWorkers, 1},
		"given up, answered since":   {[]sight{good, gaveUp}, Answering, 12},
		"answered, then given up":    {[]sight{with(func(s *sight) { s.Answered = 900 }), gaveUp}, NoWorkers, 1},
		"given up by one of refused": {[]sight{narrow, gaveUp}, NoWorkers, 1},
	} {
		if look, room := judge(12, tt.sights); look != tt.look || room != tt.room {
			t.Errorf("%s: %s, %d; want %s, %d", name, look, room, tt.look, tt.room)
		}
	}
}

func TestMeet(t *testing.T) {
	mine := claim{Machine: "m1", Take: "t1"}
	for name, tt := range map[string]struct {
		there      claim
		dead       bool
		ours, over bool
	}{
		"our own write, whose answer was lost": {mine, false, true, false},
		"a living machine's":                   {claim{Machine: "m2", Take: "t2"}, false, false, false},
		"a dead machine's":                     {claim{Machine: "m2", Take: "t2"}, true, false, true},
		"this machine's, under way":            {claim{Machine: "m1", Take: "t0"}, false, false, false},
		"this machine's, come to nothing":      {claim{Machine: "m1", Take: "t0"}, true, false, true},
	} {
		if ours, over := meet(tt.there, mine, tt.dead); ours != tt.ours || over != tt.over {
			t.Errorf("%s: %v %v", name, ours, over)
		}
	}
}

func TestNext(t *testing.T) {
	once, twice := &job{Run: 2}, &job{Run: 2, Spec: Spec{Idempotent: true}}
	for name, tt := range map[string]struct {
		j      *job
		before *claim
		result *wireResult
		want   step
	}{
		"new":                                   {once, nil, nil, stepRun},
		"it has a result":                       {once, nil, &wireResult{Run: 2}, stepSkip},
		"a later run has":                       {once, nil, &wireResult{Run: 3}, stepSkip},
		"the run before has":                    {once, nil, &wireResult{Run: 1}, stepRun},
		"begun by a dead machine":               {once, &claim{Run: 2}, nil, stepLost},
		"begun by one, idempotent":              {twice, &claim{Run: 2}, nil, stepRun},
		"ended by one that died before its ack": {once, &claim{Run: 2}, &wireResult{Run: 2}, stepSkip},
		"the run before was begun":              {once, &claim{Run: 1}, nil, stepRun},
	} {
		if got := next(tt.j, tt.before, tt.result); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}

func TestAfterwards(t *testing.T) {
	ran, not := &runpod.Error{MayHaveRun: true}, &runpod.Error{}
	key := &runpod.Error{Kind: runpod.ErrUnauthorized}
	for name, tt := range map[string]struct {
		err, cause error
		twice      bool
		want       after
	}{
		"failed":                       {ran, nil, false, commitIt},
		"failed, idempotent":           {ran, nil, true, commitIt},
		"the lease is lost":            {ran, errLeaseLost, true, leaveIt},
		"cancelled":                    {ran, ErrCancelled, false, skipIt},
		"closed":                       {ran, ErrClosed, false, commitIt},
		"closed, idempotent":           {ran, ErrClosed, true, giveBack},
		"closed before it was sent":    {not, ErrClosed, false, giveBack},
		"the key is refused":           {key, nil, false, giveBack},
		"no settings":                  {&runpod.Error{Field: "endpoint"}, nil, false, giveBack},
		"closed, by whom is not known": {errors.New("x"), ErrClosed, false, commitIt},
	} {
		if got := afterwards(tt.err, tt.cause, tt.twice); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}

func TestErrorsKeepTheirKind(t *testing.T) {
	for name, kind := range kinds {
		if got := kindOf(kind); got != name {
			t.Errorf("%v travels as %q, want %q", kind, got, name)
		}
		w := wireResult{Run: 1}
		w.fail(&runpod.Error{Kind: kind, Status: 400, MayHaveRun: true, Attempts: make([]runpod.Attempt, 3)})
		data, err := (&table{}).message("a", w)
		if err != nil {
			t.Fatal(err)
		}
		r, err := readResult(entry{key: "a", data: data.Data, seq: 7})
		if !errors.Is(err, kind) || !errors.Is(err, ErrMayHaveRun) || r.Attempts != 3 || r.Pos != 7 || !strings.Contains(err.Error(), "may have run") {
			t.Errorf("%s: %+v %v", name, r, err)
		}
	}
}

// A Spec is bad input wherever it comes from.
func TestSpecIsCheckedLikeBadInput(t *testing.T) {
	good := Spec{ID: "a", Path: "/do?x=1", Keys: []string{"inputs/a.png"}, SaveTo: "out/a.png", Body: map[string]any{"p": "{{0}}"}}
	if err := good.check(); err != nil {
		t.Error(err)
	}
	for field, edits := range map[string][]func(*Spec){
		"path:": {func(s *Spec) { s.Path = "" }, func(s *Spec) { s.Path = "do" }, func(s *Spec) { s.Path = "//evil.example/do" },
			func(s *Spec) { s.Path = "https://evil.example/do" }, func(s *Spec) { s.Path = "/a/../b" }, func(s *Spec) { s.Path = "/a/%2e%2e/b" }, func(s *Spec) { s.Path = "/a\r\nX: y" }},
		"keys[0]:": {func(s *Spec) { s.Keys = []string{"../etc/passwd"} }, func(s *Spec) { s.Keys = []string{"/etc/passwd"} }, func(s *Spec) { s.Keys = []string{""} }, func(s *Spec) { s.Keys = []string{"a/../../b"} }},
		"save_to:": {func(s *Spec) { s.SaveTo = "../x" }, func(s *Spec) { s.SaveTo = "/etc/cron.d/x" }, func(s *Spec) { s.SaveTo = "a/../../x" }, func(s *Spec) { s.SaveTo = "." }, func(s *Spec) { s.SaveTo = `..\x` }, func(s *Spec) { s.SaveTo = "a\x00b" }},
		"method:":  {func(s *Spec) { s.Method = "GET /x" }},
		"id:":      {func(s *Spec) { s.ID = strings.Repeat("x", 201) }, func(s *Spec) { s.ID = "a\nb" }},
		"output:":  {func(s *Spec) { s.Output = "a\tb" }},
		"files:":   {func(s *Spec) { s.Keys = make([]string, 257) }},
		"files[0]": {func(s *Spec) { s.Files = []string{""} }},
	} {
		for i, edit := range edits {
			s := good
			edit(&s)
			if err := s.check(); err == nil || !strings.HasPrefix(err.Error(), field) {
				t.Errorf("%s %d: %v", field, i, err)
			}
			if field == "files[0]" {
				continue
			}
			m, err := (&table{}).message("", job{Spec: s, Run: 1})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := readJob(token(s.ID), m.Data); err == nil {
				t.Errorf("%s %d: it is taken from the queue", field, i)
			}
		}
	}
	for name, text := range map[string]string{
		"another job's": `{"id":"b","path":"/do","run":1}`, "files of the machine": `{"id":"a","path":"/do","run":1,"files":["/etc/passwd"]}`,
		"no run": `{"id":"a","path":"/do"}`, "no JSON": `{`, "empty": ``,
	} {
		if j, err := readJob("a", []byte(text)); err == nil || j.ID != "a" || j.Run < 1 && name != "no JSON" && name != "empty" {
			t.Errorf("%s: %+v %v", name, j, err)
		}
	}
}

func TestResultsAreCheckedLikeBadInput(t *testing.T) {
	for _, text := range []string{`{`, `{"run":1,"save_to":"../x"}`, `{"run":1,"output_key":"../x"}`, `{"run":1,"answer_key":"/etc/passwd"}`} {
		r, err := readResult(entry{key: "a", data: []byte(text)})
		if err == nil || r.ID != "a" || r.SaveTo != "" || r.OutputKey != "" || r.AnswerKey != "" {
			t.Errorf("%s: %+v %v", text, r, err)
		}
	}
}

func TestBodyIsFilled(t *testing.T) {
	j := job{Spec: Spec{Keys: []string{"a.png", "b.png"}, Body: map[string]any{"x": []any{"{{0}}", "see {{1}} and {{2}}", 3.5, nil, true}}}}
	want := map[string]any{"x": []any{"/runpod-volume/a.png", "see /runpod-volume/b.png and {{2}}", 3.5, nil, true}}
	if got := j.body(); !reflect.DeepEqual(got, want) {
		t.Errorf("%v", got)
	}
	j.Body = nil
	if j.body() != nil {
		t.Error("a job without a body has one")
	}
}

func TestTokensAreReversible(t *testing.T) {
	seen := map[string]bool{}
	for _, id := range []string{"a", "A-_9", "=", "a b", "a.b", "*", ">", "é", "=YQ", ""} {
		k := token(id)
		back, err := idOf(k)
		if err != nil || back != id || seen[k] || strings.ContainsAny(k, " .*>") || k == "" {
			t.Errorf("%q: %q, %q, %v", id, k, back, err)
		}
		seen[k] = true
	}
}

func TestReadSpecs(t *testing.T) {
	const text = `{"id":"a","files":["x.png","/y.png"],"path":"/do","body":{"n":12345678901234567890}}` + "\n\n" + `{"path":"/do"}` + "\n"
	var all []Spec
	for s, err := range ReadSpecs(strings.NewReader(text), "/dir") {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	if len(all) != 2 || all[0].Files[0] != "/dir/x.png" || all[0].Files[1] != "/y.png" {
		t.Errorf("%+v", all)
	}
	for text, want := range map[string]string{"{\"path\":\"/a\"}\n{\"path\":\"a\"}": "line 2: path", `{"path":"/a","pth":1}`: "line 1: json", `{"path":"/a"}{}`: "line 1: more"} {
		var got error
		for _, err := range ReadSpecs(strings.NewReader(text), "") {
			got = err
		}
		if got == nil || !strings.HasPrefix(got.Error(), want) {
			t.Errorf("%s: %v, want %s", text, got, want)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	for field, c := range map[string]Config{
		"Name": {Name: "a.b"}, "InFlight": {Name: "a", InFlight: -1}, "Replicas": {Name: "a", Replicas: 7}, "Lease": {Name: "a", Lease: time.Millisecond},
	} {
		if _, err := Open(context.Background(), nil, c); err == nil || !strings.Contains(err.Error(), "Config."+field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}
