// Command ask is the floor under `vk token`: one request over a Unix socket, and the token of the answer printed.
// usage: ask SOCKET RESOURCE
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
)

func main() {
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", os.Args[1])
	}}}
	body, err := json.Marshal(map[string]any{"resource": os.Args[2], "min_valid_s": 60})
	if err != nil {
		log.Fatal(err)
	}
	resp, err := client.Post("http://localhost/v1/token", "application/json", bytes.NewReader(body))
	if err != nil {
		log.Fatal(err)
	}
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusOK {
		log.Fatal(resp.Status, err)
	}
	fmt.Println(answer.AccessToken)
}
