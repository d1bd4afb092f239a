// Command pipe is the floor under `vk bridge`: each line of standard input is posted to a server with a token, and the
// messages of the answer are printed. It knows nothing of sessions but their header, and of errors nothing.
// usage: pipe URL, with the token as the first line of standard input
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log"
	"mime"
	"net/http"
	"os"
	"strings"
)

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	token, err := in.ReadString('\n')
	if err != nil {
		log.Fatal(err)
	}
	out := bufio.NewWriter(os.Stdout)
	session := ""
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		req, err := http.NewRequest("POST", os.Args[1], bytes.NewReader(line))
		if err != nil {
			log.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
		if session != "" {
			req.Header.Set("Mcp-Session-Id", session)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			log.Fatal(err)
		}
		if id := resp.Header.Get("Mcp-Session-Id"); id != "" {
			session = id
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			log.Fatal(err)
		}
		resp.Body.Close()
		if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind == "text/event-stream" {
			for event := range strings.SplitSeq(string(body), "\n") {
				if data, ok := strings.CutPrefix(event, "data:"); ok && strings.TrimSpace(data) != "" {
					fmt.Fprintln(out, strings.TrimSpace(data))
				}
			}
		} else if len(body) > 0 {
			fmt.Fprintln(out, strings.TrimSpace(string(body)))
		}
		out.Flush()
	}
}
