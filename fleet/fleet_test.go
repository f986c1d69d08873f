package fleet_test

import (
	"errors"
	"strings"
	"testing"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/fleet"
	"github.com/gpuburst/runpod-go/runpodtest"
)

func TestRoundTrip(t *testing.T) {
	e := newEndpoint(t, runpodtest.Config{})
	srv, client := newEngine(t), e.client(t)
	f := open(t, srv, fleet.Config{})
	submit(t, f, client, job("good", work{}), job("an id, with spaces", work{}), job("bad", work{Fail: true}), job("long", work{Bytes: 100_000}))
	if n, err := f.Submit(t.Context(), client, jobs(1, func(int) fleet.Spec { return job("good", work{}) })); n != 0 || err != nil {
		t.Errorf("the same job again: %d new, %v", n, err)
	}
	if _, err := f.Submit(t.Context(), client, jobs(1, func(int) fleet.Spec { return job("good", work{MS: 1}) })); err == nil {
		t.Error("an id with another content was taken")
	}
	stop := working(t, f, client)
	all := results(t, f)
	stop()
	if len(all) != 4 || string(all["good"].Answer) != `{"done":"good"}` || all["an id, with spaces"].err != nil {
		t.Errorf("%+v", all)
	}
	if e, ok := errors.AsType[*fleet.Error](all["bad"].err); !ok || e.Status != 422 || !errors.Is(e, runpod.ErrBadRequest) || e.MayHaveRun {
		t.Errorf("the bad job: %v", all["bad"].err)
	}
	if all["long"].AnswerKey == "" || all["long"].err != nil {
		t.Errorf("the long answer: %+v", all["long"])
	}
	st, err := f.Status(t.Context())
	if err != nil || st.Jobs != 4 || st.Done != 3 || st.Failed != 1 || st.Waiting != 0 || len(st.Running) != 0 || len(st.Machines) != 0 {
		t.Errorf("%+v %v", st, err)
	}
	if err := f.Delete(t.Context()); err != nil {
		t.Error(err)
	}
	for o, err := range client.List(t.Context(), "") {
		if err != nil || !strings.HasSuffix(o.Key, "/") {
			t.Errorf("on the volume: %s %v", o.Key, err)
		}
	}
}
