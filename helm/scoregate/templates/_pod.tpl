{{/*
The pod that serves. Takes root, name, serving ({image, model}), and arm where it never changes: without it the pod's
label says which arm it is of.
*/}}
{{- define "scoregate.pod" -}}
{{- $root := .root }}
{{- $service := include "scoregate.service" . | fromYaml }}
metadata:
  labels:
    {{- include "scoregate.podLabels" $ | nindent 4 }}
  annotations:
    kubectl.kubernetes.io/default-container: {{ $.name }}
    checksum/config: {{ include "scoregate.env" $ | sha256sum }}
spec:
  serviceAccountName: {{ include "scoregate.name" $ }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "scoregate.graceSeconds" (dict "root" $root "service" $service) }}
  securityContext:
    {{- include "scoregate.podSecurity" $ | nindent 4 }}
  {{- with $root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with $service.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $service.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with include "scoregate.topologySpread" $ | trim }}
  topologySpreadConstraints:
    {{- . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ $.name | replace "_" "-" }}
      image: {{ $.serving.image | quote }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      command: [bentoml, serve, "{{ $.name }}.service:Service", --working-dir, /app/services, --host, 0.0.0.0, --port, "3000", --timeout-keep-alive, "75"]
      ports:
        - name: http
          containerPort: 3000
      envFrom:
        - configMapRef:
            name: {{ include "scoregate.name" $ }}
      env:
        {{- if $.arm }}
        - name: SCOREGATE_ARM
          value: {{ $.arm }}
        {{- else }}
        # Argo makes a canary's pods stable ones by this label alone; an environment never changes.
        - name: SCOREGATE_ARM_FILE
          value: /etc/scoregate/pod/arm
        {{- end }}
        - name: SCOREGATE_MODEL_DIR
          value: {{ printf "%s/%s" $root.Values.models.root $.serving.model | quote }}
        {{- with $root.Values.onlineStore.existingSecret }}
        - name: SCOREGATE_STORE_URL
          valueFrom:
            secretKeyRef:
              name: {{ . }}
              key: {{ $root.Values.onlineStore.key }}
        {{- end }}
        {{- with include "scoregate.ledgerEnv" $ | trim }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- with include "scoregate.registryEnv" $ | trim }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- if $root.Values.ledger.sqlite.existingClaim }}
        - name: POD_NAME
          valueFrom:
            fieldRef:
              fieldPath: metadata.name
        {{- end }}
      # A pod whose artefact is wrong says why on /readyz and gets no traffic. It starts again after two minutes,
      # since what it lacked at the start (a ledger that could not be opened) may be there by then.
      startupProbe:
        httpGet:
          path: /readyz
          port: http
        periodSeconds: 1
        timeoutSeconds: 2
        failureThreshold: 120
      readinessProbe:
        httpGet:
          path: /readyz
          port: http
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: 2
      livenessProbe:
        httpGet:
          path: /livez
          port: http
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 3
      lifecycle:
        preStop:
          exec:
            # Not the `sleep` action: Kubernetes 1.29 does not have it.
            command: [sleep, {{ $root.Values.drain.preStopSeconds | toString | quote }}]
      resources:
        {{- toYaml $service.resources | nindent 8 }}
      securityContext:
        {{- include "scoregate.containerSecurity" $ | nindent 8 }}
      volumeMounts:
        - name: tmp
          mountPath: /tmp
        - name: bentoml
          mountPath: /var/lib/bentoml
        - name: home
          mountPath: /var/lib/scoregate
        {{- if not $root.Values.ledger.url.existingSecret }}
        - name: ledger
          mountPath: /var/lib/scoregate/ledger
          {{- if $root.Values.ledger.sqlite.existingClaim }}
          subPathExpr: $(POD_NAME)
          {{- end }}
        {{- end }}
        {{- with include "scoregate.ledgerMounts" $ | trim }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- if not $.arm }}
        - name: pod
          mountPath: /etc/scoregate/pod
          readOnly: true
        {{- end }}
        - name: keys
          mountPath: /etc/scoregate/keys
          readOnly: true
        - name: hash-key
          mountPath: /etc/scoregate/hash-key
          readOnly: true
        {{- if $root.Values.models.existingClaim }}
        - name: models
          mountPath: {{ $root.Values.models.root | quote }}
          readOnly: true
        {{- end }}
  volumes:
    - name: tmp
      emptyDir: {}
    - name: bentoml
      emptyDir: {}
    - name: home
      emptyDir: {}
    {{- if not $root.Values.ledger.url.existingSecret }}
    - name: ledger
      {{- with $root.Values.ledger.sqlite.existingClaim }}
      persistentVolumeClaim:
        claimName: {{ . }}
      {{- else }}
      emptyDir: {}
      {{- end }}
    {{- end }}
    {{- with include "scoregate.ledgerVolumes" $ | trim }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- if not $.arm }}
    - name: pod
      downwardAPI:
        items:
          - path: arm
            fieldRef:
              fieldPath: metadata.labels['scoregate.dev/arm']
    {{- end }}
    - name: keys
      secret:
        secretName: {{ $root.Values.keys.existingSecret }}
        defaultMode: 0440
    - name: hash-key
      secret:
        secretName: {{ $root.Values.hashKey.existingSecret }}
        defaultMode: 0440
    {{- with $root.Values.models.existingClaim }}
    - name: models
      persistentVolumeClaim:
        claimName: {{ . }}
        readOnly: true
    {{- end }}
{{- end }}
