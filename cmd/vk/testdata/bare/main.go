// Command bare makes one request over a Unix socket and prints the answer: the floor that vk is measured against.
package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
)

func main() {
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", os.Getenv("VK_SOCK"))
	}}}
	resp, err := client.Post("http://localhost/v1/token", "application/json", strings.NewReader(`{"resource":"`+os.Args[1]+`","min_valid_s":60}`))
	if err != nil || resp.StatusCode != http.StatusOK {
		os.Exit(1)
	}
	io.Copy(os.Stdout, resp.Body)
}
