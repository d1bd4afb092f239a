package oauthflow

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"time"

	"github.com/valetkey/valetkey/client"
)

const (
	maxReference = 2048             // bytes of a request_uri: it travels in an address
	minReference = 30 * time.Second // how soon a reference is replaced at most, whatever the issuer says of its life
)

// push leaves the parameters of a sign-in with the issuer, and returns what stands for them in the browser's address
// and how long it does (RFC 9126 §2). We authenticate as at the token endpoint.
func push(ctx context.Context, web *http.Client, req Request, reg client.Client, params url.Values) (reference string, life time.Duration, err error) {
	const step = "pushed request"
	req.Registration = reg
	r, err := postForm(ctx, web, req, step, req.Issuer.PushEndpoint, maps.Clone(params))
	if err != nil {
		return "", 0, err
	}
	if r.status != http.StatusCreated && r.status != http.StatusOK {
		return "", 0, r.refusal(req.Issuer, step)
	}
	var answer struct {
		Reference string          `json:"request_uri"`
		ExpiresIn json.RawMessage `json:"expires_in"`
	}
	if json.Unmarshal(r.body, &answer) != nil || answer.Reference == "" || len(answer.Reference) > maxReference {
		return "", 0, r.unusable(req.Issuer, step, "no usable request_uri")
	}
	if life = seconds(answer.ExpiresIn); life > 0 {
		life = max(life, minReference)
	}
	return answer.Reference, life, nil
}
