package main

import (
	"embed"
	"errors"
	"fmt"
	"image/jpeg"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gpuburst/runpod-go/internal/burst"
)

//go:embed photos/person/*.jpg photos/garment/*.jpg
var shipped embed.FS

// album is what the burst picks its inputs from; neither list is empty.
type album struct {
	persons, garments []burst.File
}

// pick gives job i (from 0) its two photos, so that every person meets every
// garment before a pair comes back.
func (a album) pick(i int) (person, garment burst.File) {
	round := i / len(a.persons)
	return a.persons[i%len(a.persons)], a.garments[(i%len(a.persons)+round)%len(a.garments)]
}

// plan is the burst's jobs, whose pictures go to the folder named.
func (a album) plan(out string) *burst.Plan {
	return &burst.Plan{Work: func(i int) burst.Work {
		person, garment := a.pick(i)
		w := burst.TryOn(i, []burst.File{person, garment})
		w.Took = "processing_seconds"
		w.SaveTo = filepath.Join(out, fmt.Sprintf("job-%03d.jpg", i+1))
		return w
	}}
}

// openAlbum reads the folder that -inputs names, or the shipped photos for "".
// A folder holds JPEGs either in person/ and garment/ or side by side; side by
// side, each photo serves as both.
func openAlbum(dir string) (album, error) {
	if dir == "" {
		return shippedAlbum()
	}
	a, err := readAlbum(dir)
	if err != nil {
		return album{}, fmt.Errorf("-inputs: %w", err)
	}
	if len(a.persons) == 0 || len(a.garments) == 0 {
		return album{}, fmt.Errorf("-inputs: %s needs .jpg files, in its folders person and garment or without folders", dir)
	}
	for _, p := range slices.Concat(a.persons, a.garments) {
		if err := checkJPEG(p); err != nil {
			return album{}, fmt.Errorf("-inputs: %s: %w", p.Path, err)
		}
	}
	return a, nil
}

// checkJPEG finds out early what a worker would refuse late.
func checkJPEG(p burst.File) error {
	f, err := p.Open()
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = jpeg.DecodeConfig(f)
	return err
}

func readAlbum(dir string) (album, error) {
	persons, err := listJPEGs(filepath.Join(dir, "person"))
	if err == nil {
		garments, err := listJPEGs(filepath.Join(dir, "garment"))
		return album{persons, garments}, err
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return album{}, err
	}
	all, err := listJPEGs(dir)
	if len(all) == 0 {
		return album{}, err
	}
	return album{all, slices.Concat(all[1:], all[:1])}, err // the next one is the garment
}

func listJPEGs(dir string) ([]burst.File, error) {
	entries, err := os.ReadDir(dir)
	var photos []burst.File
	for _, e := range entries {
		switch strings.ToLower(filepath.Ext(e.Name())) {
		case ".jpg", ".jpeg":
			photos = append(photos, burst.File{Name: e.Name(), Path: filepath.Join(dir, e.Name())})
		}
	}
	return photos, err
}

func shippedAlbum() (album, error) {
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
