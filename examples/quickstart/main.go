// Quickstart uploads two photographs, has a worker make a picture of them, and downloads it.
package main

import (
	"context"
	"fmt"
	"log"

	runpod "github.com/gpuburst/runpod-go"
)

func main() {
	client, err := runpod.New() // settings from the RUNPOD_ variables
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	result, err := client.Run(context.Background(), runpod.Job{
		Inputs: []runpod.JobInput{{Input: runpod.File("person.jpg")}, {Input: runpod.File("garment.jpg")}},
		Path:   "/api/v1/tryon",
		Body: func(in []runpod.Object) (any, error) {
			return map[string]string{"person_image_path": in[0].WorkerPath(), "garment_image_path": in[1].WorkerPath()}, nil
		},
		Output: func(resp *runpod.Response) (string, error) {
			var answer struct {
				Path string `json:"result_image_path"`
			}
			err := resp.JSON(&answer)
			return answer.Path, err
		},
		SaveTo: "result.jpg",
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("result.jpg is here, made by worker", result.Response.WorkerID)
}
