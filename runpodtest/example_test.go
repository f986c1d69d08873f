package runpodtest_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// A service's own worker program, tested on a cold endpoint with nothing but
// net/http. Time runs 1000 times faster here; in a test, testing/synctest does
// without that.
func Example() {
	srv, err := runpodtest.NewServer(runpodtest.Config{
		Speed:     1000,
		ColdStart: runpodtest.Fixed(60 * time.Second),
		Handler: func(w runpodtest.Worker) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				name, _ := os.ReadFile(filepath.Join(w.VolumeDir, "name.txt")) // /runpod-volume/name.txt
				fmt.Fprintf(rw, "hello %s", name)
			})
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	os.WriteFile(filepath.Join(srv.VolumeDir, "name.txt"), []byte("Ada"), 0o644)

	client := &http.Client{Transport: &http.Transport{DialContext: srv.DialContext}}
	req, _ := http.NewRequest("POST", srv.EndpointURL+"/greet", nil)
	req.Header.Set("Authorization", "Bearer "+srv.APIKey)
	resp, err := client.Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	st := srv.Stats()
	fmt.Printf("%d %s\n", resp.StatusCode, body)
	fmt.Println(st.WorkersStarted, "worker, starting for a minute or more:", st.Starting >= time.Minute)
	// Output:
	// 200 hello Ada
	// 1 worker, starting for a minute or more: true
}

// A fault that strikes once, and what the client sees.
func ExampleServer_Fault() {
	srv, err := runpodtest.NewServer(runpodtest.Config{MinWorkers: 1, Speed: 1000})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	srv.Fault(runpodtest.Fault{Path: "/api/*", Do: runpodtest.Answer(429, `{"error":"slow down"}`, "Retry-After", "2")})

	client := &http.Client{Transport: &http.Transport{DialContext: srv.DialContext}}
	for range 2 {
		req, _ := http.NewRequest("GET", srv.EndpointURL+"/api/v1/tryon", nil)
		req.Header.Set("Authorization", "Bearer "+srv.APIKey)
		resp, err := client.Do(req)
		if err != nil {
			fmt.Println(err)
			return
		}
		resp.Body.Close()
		fmt.Println(resp.StatusCode, resp.Header.Get("Retry-After"))
	}
	// Output:
	// 429 2
	// 200
}
