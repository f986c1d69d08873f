package queue

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go"
)

// What passes, and when it has lasted too long.
func TestStreak(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	status := func(n int) error { return &runpod.Error{Status: n} }
	for _, tt := range []struct {
		name  string
		err   error
		every time.Duration
		ends  int // at which of them in a row; 0: at none of 30
	}{
		{"500s", status(500), time.Second, 10},
		{"520s, slowly", status(520), 2 * time.Minute, 8}, // 15 minutes of patience
		{"one that took all the patience", status(503), 15 * time.Minute, 1},
		{"no reports", &runpod.Error{Status: 200, Err: errNoReport}, time.Second, 10},
		{"no reports of a batch", &runpod.Error{Status: 200, Err: errNoBatch}, time.Second, 10},
		{"host name not found", &runpod.Error{Kind: runpod.ErrNotFound}, time.Second, 10},
		{"not known yet", &runpod.Error{Status: 404, Err: errSettling}, time.Second, 0},
		{"expired", &runpod.Error{Status: 404, Kind: ErrExpired}, time.Second, 1},
		{"401", &runpod.Error{Status: 401, Kind: runpod.ErrUnauthorized}, time.Second, 1},
		{"a redirect to a page of a gateway's", status(302), time.Second, 10},
		{"an output over 30 MB", &runpod.Error{Status: 200, Kind: runpod.ErrTooLarge}, time.Second, 1},
		{"501", status(501), time.Second, 1},
		{"429 for 15 minutes", &runpod.Error{Status: 429, Kind: runpod.ErrRateLimited}, time.Second, 1},
		{"refused before it was sent", &runpod.Error{Field: "job id"}, time.Second, 1},
		{"certificate", &runpod.Error{Err: errors.New("x509")}, time.Second, 1},
		{"context", &runpod.Error{Status: 500, Err: context.DeadlineExceeded}, time.Second, 1},
		{"closed", &runpod.Error{Status: 500, Kind: runpod.ErrClosed}, time.Second, 1},
		{"somebody else's error", io.EOF, time.Second, 1},
	} {
		var s streak
		ends := 0
		for i := 1; i <= 30 && ends == 0; i++ {
			now := start.Add(time.Duration(i) * tt.every)
			if err := s.ends(tt.err, now.Add(-tt.every), now, 15*time.Minute); err != nil {
				if ends = i; !errors.Is(err, tt.err) {
					t.Errorf("%s: ended with %v", tt.name, err)
				}
			}
		}
		if ends != tt.ends {
			t.Errorf("%s: ended at look %d, not %d", tt.name, ends, tt.ends)
		}
	}
	var s streak
	for range 5 * maxStreak { // a report between them begins anew
		if s.ends(status(500), start, start, time.Hour) != nil || s.ends(nil, start, start, time.Hour) != nil {
			t.Fatal("a streak goes on over a report")
		}
	}
}
