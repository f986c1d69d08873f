package main

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"image/jpeg"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	runpod "github.com/gpuburst/runpod-go"
)

//go:embed photos/person/*.jpg photos/garment/*.jpg
var shipped embed.FS

// photo is one JPEG: a file of the user's, or one that ships with the program.
type photo struct {
	name string
	path string // of the user's file; "" when data holds the photo
	data []byte
}

// input is the photo as the library takes it: a file is streamed, not loaded.
func (p photo) input() runpod.Input {
	if p.path != "" {
		return runpod.File(p.path)
	}
	return runpod.Bytes(p.name, p.data)
}

// open is the photo as the AWS SDK takes it.
func (p photo) open() (io.ReadSeekCloser, error) {
	if p.path != "" {
		return os.Open(p.path)
	}
	return memory{bytes.NewReader(p.data)}, nil
}

// memory is a photo that needs no closing.
type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

// album is what the burst picks its inputs from; neither list is empty.
type album struct {
	persons, garments []photo
}

// pick gives job i (from 0) its two photos, so that every person meets every
// garment before a pair comes back.
func (a album) pick(i int) (person, garment photo) {
	round := i / len(a.persons)
	return a.persons[i%len(a.persons)], a.garments[(i%len(a.persons)+round)%len(a.garments)]
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
		if err := p.checkJPEG(); err != nil {
			return album{}, fmt.Errorf("-inputs: %s: %w", p.path, err)
		}
	}
	return a, nil
}

// checkJPEG finds out early what a worker would refuse late.
func (p photo) checkJPEG() error {
	f, err := p.open()
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

func listJPEGs(dir string) ([]photo, error) {
	entries, err := os.ReadDir(dir)
	var photos []photo
	for _, e := range entries {
		switch strings.ToLower(filepath.Ext(e.Name())) {
		case ".jpg", ".jpeg":
			photos = append(photos, photo{name: e.Name(), path: filepath.Join(dir, e.Name())})
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

func shippedIn(dir string) ([]photo, error) {
	entries, err := fs.ReadDir(shipped, dir)
	if err != nil {
		return nil, err
	}
	var photos []photo
	for _, e := range entries {
		data, err := shipped.ReadFile(dir + "/" + e.Name())
		if err != nil {
			return nil, err
		}
		photos = append(photos, photo{name: e.Name(), data: data})
	}
	return photos, nil
}
