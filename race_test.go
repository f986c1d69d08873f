//go:build race

package runpod

func init() { raceDetector = true }
