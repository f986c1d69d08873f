package queue

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
)

// readJSON decodes an answer as the service and its workers write them: with a
// byte order mark in front or without, and with the NaN and Infinity of Python's
// json module, which are read as null.
func readJSON(data []byte, out any) error {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !json.Valid(data) {
		data = withoutNaN(data)
	}
	return json.Unmarshal(data, out)
}

// notNumbers are what Python writes for numbers that JSON has not. The longer
// ones come first.
var notNumbers = []string{"-Infinity", "Infinity", "NaN"}

// withoutNaN replaces notNumbers by null, outside strings.
func withoutNaN(data []byte) []byte {
	out := make([]byte, 0, len(data))
	for inString := false; len(data) > 0; {
		n := 1
		switch {
		case inString && data[0] == '\\':
			n = min(2, len(data))
		case data[0] == '"':
			inString = !inString
		case !inString:
			if name := prefix(data, notNumbers); name != "" {
				out, data = append(out, "null"...), data[len(name):]
				continue
			}
		}
		out, data = append(out, data[:n]...), data[n:]
	}
	return out
}

func prefix(data []byte, names []string) string {
	for _, name := range names {
		if len(data) >= len(name) && string(data[:len(name)]) == name {
			return name
		}
	}
	return ""
}

// number is a count or a time in an answer. One in quotes is read too; what is
// no number, or none that can be, is 0, so that a field that nobody asks for
// fails no report.
type number float64

// UnmarshalJSON never fails.
func (n *number) UnmarshalJSON(data []byte) error {
	text := strings.TrimSpace(strings.Trim(string(data), `"`))
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(v) || v < 0 {
		v = 0
	}
	*n = number(min(v, 1e15))
	return nil
}

func (n number) int() int { return int(n) }

// milliseconds is a time that came as milliseconds, at most some 146 years.
func (n number) milliseconds() time.Duration {
	return time.Duration(min(float64(n)*float64(time.Millisecond), math.MaxInt64/2))
}

// text is a name in an answer. A number is read too; anything else is "".
type text string

// UnmarshalJSON never fails.
func (t *text) UnmarshalJSON(data []byte) error {
	var s string
	var n json.Number
	switch {
	case json.Unmarshal(data, &s) == nil:
		*t = text(s)
	case json.Unmarshal(data, &n) == nil:
		*t = text(n)
	}
	return nil
}
