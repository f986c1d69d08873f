package runpod

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
)

// encode makes a call's JSON body; nil for none.
func encode(op string, in any) ([]byte, error) {
	data, err := encodeJSON(in)
	switch {
	case err != nil:
		return nil, refuse(op, "in", "%w", err)
	case len(data) > maxBody:
		return nil, tooLarge(op, "in", int64(len(data)))
	}
	return data, nil
}

func encodeJSON(in any) ([]byte, error) {
	switch v := in.(type) {
	case nil:
		return nil, nil
	case json.RawMessage:
		return checkJSON(v)
	case []byte:
		return checkJSON(v)
	case json.Marshaler:
	case io.Reader: // it would encode as {}
		return nil, fmt.Errorf("a %T is a stream, not a value: read it into a []byte, or send it with Do", in)
	}
	data, err := json.Marshal(in)
	if err == nil {
		return data, nil
	}
	if where := unencodable(reflect.ValueOf(in), 0); where != "" {
		return nil, fmt.Errorf("it does not encode as JSON: %w, at %s", err, where)
	}
	return nil, fmt.Errorf("it does not encode as JSON: %w", err)
}

// checkJSON takes bytes as they are, if they are JSON. Those over the limit are
// refused for that.
func checkJSON(data []byte) ([]byte, error) {
	if len(data) > 0 && len(data) <= maxBody && !json.Valid(data) {
		return nil, errors.New("the bytes are not JSON: send them with Do, or as a string")
	}
	return data, nil
}

// checkOut refuses what no answer can be put into, before the call has run.
func checkOut(op string, out any) error {
	v := reflect.ValueOf(out)
	_, writes := out.(io.Writer)
	switch {
	case out == nil:
		return nil
	case v.Kind() == reflect.Pointer && v.IsNil():
		return refuse(op, "out", "it is a nil %T", out)
	case v.Kind() == reflect.Pointer || writes:
		return nil
	}
	return refuse(op, "out", "a %T cannot take the answer: want a pointer, an io.Writer or nil", out)
}

// unencodable finds a value that JSON has not, and returns the way to it; "" if
// there is none near enough.
func unencodable(v reflect.Value, depth int) string {
	if depth > 16 {
		return ""
	}
	switch v.Kind() {
	case reflect.Float32, reflect.Float64:
		if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Sprintf(": %v", f)
		}
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
		return fmt.Sprintf(": a %s", v.Type())
	case reflect.Pointer, reflect.Interface:
		return unencodable(v.Elem(), depth+1)
	case reflect.Struct:
		return unencodableField(v, depth)
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if where := unencodable(v.Index(i), depth+1); where != "" {
				return fmt.Sprintf("[%d]%s", i, where)
			}
		}
	case reflect.Map:
		for key, value := range v.Seq2() {
			if where := unencodable(value, depth+1); where != "" {
				return fmt.Sprintf("[%q]%s", fmt.Sprint(key), where)
			}
		}
	}
	return ""
}

func unencodableField(v reflect.Value, depth int) string {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if !field.IsExported() && !field.Anonymous || field.Tag.Get("json") == "-" {
			continue
		}
		if where := unencodable(v.Field(i), depth+1); where != "" {
			return "." + field.Name + where
		}
	}
	return ""
}
