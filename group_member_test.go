package runpod

import (
	"testing"
	"time"
)

// What a member has refused counts for a while, unless its workers are only busy.
func TestMemberRefuses(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(d time.Duration) time.Time { return start.Add(d) }
	up := Readiness{Listed: true, Workers: map[WorkerStatus]int{WorkerIdle: 1}}
	none := Readiness{Listed: true, Workers: map[WorkerStatus]int{}}
	for _, tt := range []struct {
		name              string
		do                func(m *groupMember)
		after             time.Duration
		refused, doubtful bool
	}{
		{"nothing has happened", func(*groupMember) {}, 0, false, false},
		{"no worker", func(m *groupMember) { m.troubled(true, at(0)) }, 0, true, true},
		{"no worker, a while ago", func(m *groupMember) { m.troubled(true, at(0)) }, 4 * time.Minute, false, true},
		{"fifteen at once count as one", func(m *groupMember) {
			for range 15 {
				m.troubled(true, at(0))
			}
		}, 4 * time.Minute, false, true},
		{"again: it counts longer", func(m *groupMember) { m.troubled(true, at(0)); m.troubled(true, at(4*time.Minute)) }, 9 * time.Minute, true, true},
		{"no worker, and then an answer", func(m *groupMember) { m.troubled(true, at(0)); m.answered("w", at(1)) }, time.Second, false, false},
		{"its workers have no name, and are busy", func(m *groupMember) { m.answered("", at(0)); m.troubled(true, at(time.Minute)) }, time.Minute, false, false},
		{"its workers are busy", func(m *groupMember) { m.answered("w", at(0)); m.troubled(true, at(time.Minute)) }, time.Minute, false, false},
		{"its workers are gone", func(m *groupMember) { m.answered("w", at(0)); m.troubled(true, at(3*time.Minute)) }, 3 * time.Minute, true, true},
		{"the control plane lists one", func(m *groupMember) { m.list(up); m.troubled(true, at(0)) }, 0, false, false},
		{"the control plane lists one after it", func(m *groupMember) { m.list(none); m.troubled(true, at(0)); m.list(up) }, 0, false, false},
		{"not reached once", func(m *groupMember) { m.troubled(false, at(0)) }, 0, false, false},
		{"not reached twice", func(m *groupMember) { m.troubled(false, at(0)); m.troubled(false, at(0)) }, 0, true, true},
		{"not reached, whatever is listed", func(m *groupMember) { m.troubled(false, at(0)); m.troubled(false, at(0)); m.list(up) }, 0, true, true},
	} {
		c, err := New(WithAPIKey("k"), WithEndpoint("abc"))
		if err != nil {
			t.Fatal(err)
		}
		g, err := NewGroup([]*Client{c})
		if err != nil {
			t.Fatal(err)
		}
		m := g.members[0]
		tt.do(m)
		if v := m.view(at(tt.after)); v.refused != tt.refused || v.doubtful != tt.doubtful {
			t.Errorf("%s: refused %t, doubtful %t; want %t, %t", tt.name, v.refused, v.doubtful, tt.refused, tt.doubtful)
		}
		g.Close()
	}
}
