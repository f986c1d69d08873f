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

// fields are the fields of a JSON object: where each one's value goes.
type fields map[string]any

func (f fields) decode(text []byte) error {
	var given map[string]json.RawMessage
	if err := json.Unmarshal(text, &given); err != nil {
		return fmt.Errorf("no JSON object: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		to, known := f[name]
		if !known {
			return fmt.Errorf("%q: there is no such field; there are %s", name, strings.Join(slices.Sorted(maps.Keys(f)), ", "))
		}
		if err := json.Unmarshal(given[name], to); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// choice is one of several values, by its name.
type choice[T any] struct {
	to *T
	of map[string]T
}

// UnmarshalJSON takes the name of a value.
func (c *choice[T]) UnmarshalJSON(text []byte) error {
	var name string
	if err := json.Unmarshal(text, &name); err != nil {
		return err
	}
	v, known := c.of[name]
	if !known {
		return fmt.Errorf("%q: want %s", name, strings.Join(slices.Sorted(maps.Keys(c.of)), ", "))
	}
	*c.to = v
	return nil
}

// durationJSON is written as "75s".
type durationJSON time.Duration

func (d *durationJSON) UnmarshalJSON(text []byte) error {
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return errors.New(`want a duration in quotes, such as "75s"`)
	}
	v, err := time.ParseDuration(s)
	*d = durationJSON(v)
	return err
}
