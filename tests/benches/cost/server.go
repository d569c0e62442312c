// What a server on Go's standard library costs for the same answers: files of a folder over mutual TLS, HTTP/1.1 and
// HTTP/2, with a line in a log for each request. Prints its address.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

func main() {
	folder, certificate, key, anchor := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	pem, err := os.ReadFile(anchor)
	if err != nil {
		log.Fatal(err)
	}
	anchors := x509.NewCertPool()
	if !anchors.AppendCertsFromPEM(pem) {
		log.Fatal("no anchor in ", anchor)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr())
	answer := func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		http.ServeFile(w, r, filepath.Join(folder, filepath.Base(r.URL.Path)))
		log.Println(r.Method, r.URL.Path, r.TLS.PeerCertificates[0].SerialNumber, time.Since(began))
	}
	server := http.Server{
		Handler: http.HandlerFunc(answer),
		TLSConfig: &tls.Config{
			ClientAuth:             tls.RequireAndVerifyClientCert,
			ClientCAs:              anchors,
			SessionTicketsDisabled: true,
		},
	}
	log.Fatal(server.ServeTLS(listener, certificate, key))
}
