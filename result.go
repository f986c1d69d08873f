package runpod

// Result is what a job has reached: all of it, or with an error what came
// before that.
type Result struct {
	JobID    string    // the job's ID, or its index if it had none
	Index    int       // the job's place in RunAll's sequence, from 0
	Inputs   []Object  // as uploaded; without KeepInputs they are gone again
	Response *Response // the endpoint's answer
	Output   Object    // the result on the volume, if the job has an Output
	Attempts []Attempt // the call's attempts
}
