package runpod_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/runpodtest"
)

func ExampleClient_Upload() {
	client, stop := simulatedVolume(nil)
	defer stop()

	obj, err := client.Upload(context.Background(), "photos/cat.jpg", runpod.Bytes("cat.jpg", []byte("meow")))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(obj.Size, "bytes at", obj.WorkerPath())
	// Output: 4 bytes at /runpod-volume/photos/cat.jpg
}

func ExampleClient_Download() {
	client, stop := simulatedVolume(map[string]string{"results/a.txt": "a cat"})
	defer stop()

	var text strings.Builder
	obj, err := client.Download(context.Background(), "results/a.txt", &text)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(obj.Size, "bytes:", text.String())
	// Output: 5 bytes: a cat
}

// The file is written whole or not at all.
func ExampleClient_DownloadFile() {
	client, stop := simulatedVolume(map[string]string{"results/a.txt": "a cat"})
	defer stop()
	dir, remove := folder()
	defer remove()

	file := filepath.Join(dir, "a.txt")
	_, err := client.DownloadFile(context.Background(), "results/none.txt", file)
	fmt.Println("not found:", errors.Is(err, runpod.ErrNotFound))
	if _, err := client.DownloadFile(context.Background(), "results/a.txt", file); err != nil {
		log.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(text))
	// Output:
	// not found: true
	// a cat
}

// A folder becomes objects with a common prefix.
func ExampleClient_UploadDir() {
	client, stop := simulatedVolume(nil)
	defer stop()
	dir, remove := folder()
	defer remove()
	for _, name := range []string{"a.txt", "b.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("text"), 0o644); err != nil {
			log.Fatal(err)
		}
	}

	ctx := context.Background()
	objects, err := client.UploadDir(ctx, dir, "texts")
	if err != nil {
		log.Fatal(err) // the objects that were uploaded are in objects
	}
	fmt.Println(len(objects), "uploaded")
	for obj, err := range client.List(ctx, "texts/") {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(obj.Key, obj.Size)
	}
	// Output:
	// 2 uploaded
	// texts/a.txt 4
	// texts/b.txt 4
}

func ExampleClient_DownloadDir() {
	client, stop := simulatedVolume(map[string]string{"results/1/a.txt": "a cat", "results/2/b.txt": "a dog"})
	defer stop()
	dir, remove := folder()
	defer remove()

	if _, err := client.DownloadDir(context.Background(), "results", dir); err != nil {
		log.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "2", "b.txt"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(text))
	// Output: a dog
}

func ExampleClient_DeleteAll() {
	client, stop := simulatedVolume(map[string]string{"results/a.txt": "a cat", "results/b.txt": "a dog", "models/m.bin": "weights"})
	defer stop()

	n, err := client.DeleteAll(context.Background(), "results/")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(n, "deleted")
	// Output: 2 deleted
}

// A stream of unknown length, such as a file that is being unpacked.
func ExampleReader() {
	client, stop := simulatedVolume(nil)
	defer stop()

	open := func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader("as long as it takes")), nil
	}
	obj, err := client.Upload(context.Background(), "notes.txt", runpod.Reader("notes.txt", -1, open))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(obj.Size, "bytes")
	// Output: 19 bytes
}

// The same photograph is uploaded once, for any number of jobs. Such jobs need
// Job.KeepInputs.
func ExampleContentKey() {
	client, stop := simulatedVolume(nil, runpod.WithSkipExisting())
	defer stop()

	ctx := context.Background()
	for range 2 {
		photo := runpod.Bytes("cat.jpg", []byte("meow"))
		key, err := runpod.ContentKey(ctx, "photos", photo)
		if err != nil {
			log.Fatal(err)
		}
		obj, err := client.Upload(ctx, key, photo)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("it was there:", obj.Existed)
	}
	// Output:
	// it was there: false
	// it was there: true
}

// An upload in parts fails, here because the volume is full. The next one to
// the same key, also in another process, sends the parts that are missing.
func ExampleWithResumeDir() {
	srv := serve(runpodtest.Config{})
	defer srv.Close()
	full := runpodtest.Answer(http.StatusInsufficientStorage, "")
	srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Query: "partNumber", Skip: 1, Do: full})
	dir, remove := folder()
	defer remove()
	client := connect(srv, runpod.WithResumeDir(dir), runpod.WithPartSize(5<<20))
	defer client.Close()

	film := runpod.Bytes("film.mp4", make([]byte, 20<<20))
	_, err := client.Upload(context.Background(), "film.mp4", film)
	fmt.Println("the volume was full:", errors.Is(err, runpod.ErrVolumeFull))
	obj, err := client.Upload(context.Background(), "film.mp4", film)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(obj.Size, "bytes")
	// Output:
	// the volume was full: true
	// 20971520 bytes
}

// What is uploaded and downloaded under a context is counted. Another goroutine
// may look at any time.
func ExampleWithProgress() {
	client, stop := simulatedVolume(nil)
	defer stop()

	var progress runpod.Progress
	ctx := runpod.WithProgress(context.Background(), &progress)
	if _, err := client.Upload(ctx, "cat.jpg", runpod.Bytes("cat.jpg", []byte("meow"))); err != nil {
		log.Fatal(err)
	}
	now := progress.Now()
	fmt.Printf("%d of %d files, %d of %d bytes\n", now.FilesDone, now.Files, now.BytesDone, now.Bytes)
	// Output: 1 of 1 files, 4 of 4 bytes
}

// A worker's answer names a file by its path on the worker.
func ExampleKeyFromWorkerPath() {
	key, err := runpod.KeyFromWorkerPath("/runpod-volume/results/a.jpg")
	fmt.Println(key, err)
	_, err = runpod.KeyFromWorkerPath("/etc/passwd")
	fmt.Println("refused:", err != nil)
	// Output:
	// results/a.jpg <nil>
	// refused: true
}
