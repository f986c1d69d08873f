package burst

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// Twin describes a simulated endpoint.
type Twin struct {
	Config runpodtest.Config

	// UploadEvery is that of the Target.
	UploadEvery Seconds
}

// uploadEveryField is the one field of a file for ReadTwin that
// runpodtest.ReadConfig does not know: it is about the client.
const uploadEveryField = "upload_every"

// TwinFields are the names that a file for ReadTwin may have.
func TwinFields() []string {
	return slices.Sorted(slices.Values(append(runpodtest.ConfigFields(), uploadEveryField)))
}

// ReadTwin reads the description of a simulated endpoint from a JSON file, as
// runpodtest.ReadConfig does. The file may have upload_every too.
func ReadTwin(name string) (Twin, error) {
	f, err := os.Open(name)
	if err != nil {
		return Twin{}, err
	}
	defer f.Close()
	t, err := readTwin(f)
	if err != nil {
		return Twin{}, fmt.Errorf("%s: %w", name, err)
	}
	return t, nil
}

func readTwin(r io.Reader) (t Twin, err error) {
	text, err := io.ReadAll(io.LimitReader(r, 32<<20)) // ReadConfig refuses less than that
	if err != nil {
		return t, err
	}
	rest, every, err := takeUploadEvery(text)
	if err != nil {
		return t, err
	}
	if t.Config, err = runpodtest.ReadConfig(bytes.NewReader(rest)); err != nil {
		return t, err
	}
	for _, p := range Presets {
		if p.Preset().String() == t.Config.Preset.String() {
			t.UploadEvery = p.UploadEvery
		}
	}
	if every != nil {
		t.UploadEvery = *every // the file's wins over the preset's
	}
	return t, nil
}

// takeUploadEvery takes upload_every out of a JSON object. A text that is none
// comes back as it is, for ReadConfig to refuse.
func takeUploadEvery(text []byte) (rest []byte, every *Seconds, err error) {
	var given map[string]json.RawMessage
	if json.Unmarshal(text, &given) != nil || given[uploadEveryField] == nil {
		return text, nil, nil
	}
	var s string
	if json.Unmarshal(given[uploadEveryField], &s) != nil {
		return nil, nil, errors.New(uploadEveryField + `: want a duration in quotes, such as "24s"`)
	}
	d, err := time.ParseDuration(s)
	if err == nil && d < 0 {
		err = errors.New("want 0s or more")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", uploadEveryField, err)
	}
	delete(given, uploadEveryField)
	rest, err = json.Marshal(given)
	v := Seconds(d.Seconds())
	return rest, &v, err
}
