package queue

import (
	"encoding/json"
	"testing"
)

// NaN is null where it is a value, and stays as it is in strings.
func TestNaNIsNull(t *testing.T) {
	for in, want := range map[string]string{
		`{"a":NaN,"b":[Infinity,-Infinity]}`:  `{"a":null,"b":[null,null]}`,
		`{"a":"NaN","b":"say \"NaN\" twice"}`: `{"a":"NaN","b":"say \"NaN\" twice"}`,
		`{"NaN":NaN,"\\":NaN}`:                `{"NaN":null,"\\":null}`,
	} {
		var got json.RawMessage
		if err := readJSON([]byte(in), &got); err != nil || string(got) != want {
			t.Errorf("%s: %s, %v", in, got, err)
		}
	}
}
