package runpodtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// faultsJSON is a list of what goes wrong.
type faultsJSON []Fault

func (f *faultsJSON) UnmarshalJSON(text []byte) error {
	var list []json.RawMessage
	if err := json.Unmarshal(text, &list); err != nil {
		return errors.New("want a list of objects")
	}
	for i, one := range list {
		fault, err := parseFault(one)
		if err != nil {
			return fmt.Errorf("[%d]: %w", i, err)
		}
		*f = append(*f, fault)
	}
	return nil
}

var serviceNames = map[string]Service{"endpoint": OnEndpoint, "s3": OnS3}

// faultArgs is what an entry of faults does, with what belongs to it.
type faultArgs struct {
	status int
	body   string
	bytes  int64
	later  durationJSON
}

// faultDeed is a function of runpodtest that makes an Action.
type faultDeed struct {
	answers bool // it wants a status
	do      func(a *faultArgs) Action
}

var faultDeeds = map[string]faultDeed{
	"answer":            {true, func(a *faultArgs) Action { return Answer(a.status, a.body) }},
	"worker_answer":     {true, func(a *faultArgs) Action { return WorkerAnswer(a.status, a.body) }},
	"answer_after_work": {true, func(a *faultArgs) Action { return AnswerAfterWork(a.status, a.body) }},
	"refuse_connection": {false, func(*faultArgs) Action { return RefuseConnection() }},
	"reset_connection":  {false, func(*faultArgs) Action { return ResetConnection() }},
	"reset_before_read": {false, func(*faultArgs) Action { return ResetBeforeRead() }},
	"reset_after_read":  {false, func(*faultArgs) Action { return ResetAfterRead() }},
	"reset_after_work":  {false, func(*faultArgs) Action { return ResetAfterWork() }},
	"reset_reply":       {false, func(a *faultArgs) Action { return ResetReply(a.bytes) }},
	"truncate_reply":    {false, func(a *faultArgs) Action { return TruncateReply(a.bytes) }},
	"stall_reply":       {false, func(a *faultArgs) Action { return StallReply(a.bytes) }},
	"slow_reply":        {false, func(a *faultArgs) Action { return SlowReply(a.bytes) }},
	"delay":             {false, func(*faultArgs) Action { return Delay(0) }},
}

func parseFault(text []byte) (Fault, error) {
	var f Fault
	var a faultArgs
	var d faultDeed
	err := fields{
		"on": &choice[Service]{&f.On, serviceNames}, "method": &f.Method, "path": &f.Path, "query": &f.Query,
		"skip": &f.Skip, "times": &f.Times,
		"do":     &choice[faultDeed]{&d, faultDeeds},
		"status": &a.status, "body": &a.body, "bytes": &a.bytes, "after": (*durationJSON)(&a.later),
	}.decode(text)
	switch {
	case err != nil:
		return f, err
	case d.do == nil:
		return f, fmt.Errorf("do: it is missing; want %s", strings.Join(slices.Sorted(maps.Keys(faultDeeds)), ", "))
	case d.answers != (a.status != 0) || a.status != 0 && (a.status < 200 || a.status > 599):
		return f, fmt.Errorf("status: %d: want 200 to 599 for an answer, none for anything else", a.status)
	case f.Skip < 0:
		return f, fmt.Errorf("skip: %d: want 0 or more", f.Skip)
	case f.Times < Always:
		return f, fmt.Errorf("times: %d: want a number, or %d for always", f.Times, Always)
	case a.later < 0 || a.bytes < 0:
		return f, errors.New("after, bytes: want 0 or more")
	}
	f.Do = d.do(&a).Later(time.Duration(a.later))
	return f, nil
}
