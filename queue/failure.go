package queue

import "encoding/json"

// Failure is a worker's report of what went wrong in a job. It is the cause in
// the error of a job that has failed: get it with [errors.AsType]. It is a plain
// value.
type Failure struct {
	Type      string // the exception's type, as Runpod's own worker library reports it; "" if there is only a message
	Message   string
	Traceback string
}

// Error is the type and the message, on one line and cut off after a kilobyte
// each.
func (f *Failure) Error() string {
	if f.Type == "" {
		return excerpt(f.Message)
	}
	return excerpt(f.Type) + ": " + excerpt(f.Message)
}

// UnmarshalJSON reads the forms in which the field "error" was seen: a message,
// an object, an object as JSON in a string (reported by users). It never fails.
func (f *Failure) UnmarshalJSON(data []byte) error {
	var message string
	inner := data
	if json.Unmarshal(data, &message) == nil {
		inner = []byte(message)
	} else {
		message = string(data)
	}
	var fields struct {
		Type      text `json:"error_type"`
		Message   text `json:"error_message"`
		Traceback text `json:"error_traceback"`
	}
	if json.Unmarshal(inner, &fields) == nil && fields.Message != "" {
		*f = Failure{string(fields.Type), string(fields.Message), string(fields.Traceback)}
	} else {
		*f = Failure{Message: message}
	}
	return nil
}

// from returns what a Failure says, without secrets; nil if it says nothing: an
// "error" that is empty is none.
func (f *Failure) from(hidden *secrets) *Failure {
	if f == nil {
		return nil
	}
	switch f.Message {
	case "", "null", "{}", "[]", "false":
		return nil
	}
	clean := func(s string) string { return string(hidden.from([]byte(s))) }
	return &Failure{clean(f.Type), clean(f.Message), clean(f.Traceback)}
}
