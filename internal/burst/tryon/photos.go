// Package tryon is the workload of the stress tests on real photographs: what is
// uploaded. The program inside a worker is that of package worker.
package tryon

import (
	"embed"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/gpuburst/runpod-go/internal/burst"
)

//go:embed photos/person/*.jpg photos/garment/*.jpg
var shipped embed.FS

// Photos are the shipped photographs, in the folders person and garment.
func Photos() fs.FS {
	photos, err := fs.Sub(shipped, "photos")
	if err != nil {
		panic(err) // the folder's name is written above
	}
	return photos
}

// Plan is a burst of jobs on the shipped photographs. Their pictures are written
// to the folder out.
func Plan(out string) (*burst.Plan, error) {
	a, err := openAlbum()
	if err != nil {
		return nil, err
	}
	return &burst.Plan{Work: func(i int) burst.Work {
		person, garment := a.pick(i)
		w := burst.TryOn(i, []burst.File{person, garment})
		w.Took = "processing_seconds"
		w.SaveTo = filepath.Join(out, fmt.Sprintf("job-%03d.jpg", i+1))
		return w
	}}, nil
}

// album is what a burst picks its inputs from; neither list is empty.
type album struct {
	persons, garments []burst.File
}

// pick returns the two photos of job i, from 0, so that every person meets every
// garment before a pair comes back.
func (a album) pick(i int) (person, garment burst.File) {
	round := i / len(a.persons)
	return a.persons[i%len(a.persons)], a.garments[(i%len(a.persons)+round)%len(a.garments)]
}

func openAlbum() (album, error) {
	persons, err := shippedIn("photos/person")
	if err != nil {
		return album{}, err
	}
	garments, err := shippedIn("photos/garment")
	return album{persons, garments}, err
}

func shippedIn(dir string) ([]burst.File, error) {
	entries, err := fs.ReadDir(shipped, dir)
	if err != nil {
		return nil, err
	}
	var photos []burst.File
	for _, e := range entries {
		data, err := shipped.ReadFile(dir + "/" + e.Name())
		if err != nil {
			return nil, err
		}
		photos = append(photos, burst.File{Name: e.Name(), Data: data})
	}
	return photos, nil
}
